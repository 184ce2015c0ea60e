"""Celery's signals of publishing, for the tracing tools that hook there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.client.publishing import Outgoing


def listened_signals() -> Any:
    """Celery's signals, if somebody listens to those of publishing, or else None."""
    signals = sys.modules.get("celery.signals")
    if signals and (signals.before_task_publish.receivers or signals.after_task_publish.receivers):
        return signals
    return None


def announced(jobs: list[Outgoing]) -> tuple[list[tuple[str, bytes]], Callable[[], None] | None]:
    """The messages of jobs, by their ids, after Celery's signal before publishing.

    Tracing tools hook there, and their changes to headers are kept.

    Returns:
        The messages, and what sends the signal after publishing; None: nobody listens.
    """
    signals = listened_signals()
    if signals is None:
        return [(id, template.unsealed(id, arguments)) for id, template, arguments in jobs], None
    messages, sent = [], []
    for id, template, arguments in jobs:
        headers = template.headers(id, arguments)
        common = {
            "sender": template.task,
            "body": (arguments.args, arguments.kwargs, {}),
            "exchange": "",
            "routing_key": template.queue,
            "headers": headers,
        }
        signals.before_task_publish.send(declare=[], properties={"correlation_id": id}, retry_policy={}, **common)
        messages.append((id, template.unsealed_with(headers, id, arguments)))
        sent.append(common)

    def tell() -> None:
        for common in sent:
            signals.after_task_publish.send(**common)

    return messages, tell
