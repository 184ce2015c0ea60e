"""Messages as our producers make them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from penstock import message


def raw_message(
    id: str, *args: Any, task: str = "tests.jobs.add", age: float = 0.0, eta: datetime | None = None
) -> bytes:
    """One message, enqueued ``age`` seconds ago."""
    now = datetime.now(UTC) - timedelta(seconds=age)
    template = message.Template(task=task, queue="mail", priority=0, now=now, eta=eta)
    return message.sealed(template.unsealed(id, message.check(task, args, {}, 1_000_000)), f"tag-{id}")
