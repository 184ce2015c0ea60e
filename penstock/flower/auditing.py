"""What Flower's own routes have done, as a row of the audit: who, what, to whom, with which arguments."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.flower.masking import Masking
from penstock.ledger import queries
from penstock.ledger.backend import ledger_url
from penstock.ledger.rows import clip
from penstock.ledger.session import writing
from penstock.wording import printable

logger = logging.getLogger(__name__)
ACTION_LENGTH = 32
VALUE_LENGTH = 1000
_ACTION = re.compile(r"/api/((?:worker|task)(?:/(?:pool|queue))?/[a-z-]+)")
_TO_A_JOB = ("task revoke", "task abort")


@dataclass(frozen=True)
class Action:
    """One that was done.

    Attributes:
        actor: who has done it.
        name: what was done, as the path of the route has it.
        whom: the worker, task or job that the path names; empty without one.
        arguments: of the query, the form or the body, without secrets.
        status: of the answer; an error of the server may come after all was done.
    """

    actor: str
    name: str
    whom: str
    arguments: Mapping[str, Any]
    status: int

    @property
    def details(self) -> dict[str, Any]:
        """What the row holds beside who and what."""
        failed = {"status": self.status} if self.status >= 500 else {}
        return {"of": self.whom, "arguments": self.arguments, **failed}

    @property
    def job_id(self) -> str | None:
        """The job that it was done to."""
        return self.whom if self.name in _TO_A_JOB else None


def name_of(path: str) -> str:
    """What a route does, by its path without a prefix: ``worker pool grow``."""
    found = _ACTION.match(path)
    return (found[1] if found else path.strip("/")).replace("/", " ")[:ACTION_LENGTH]


def whom_of(path_arguments: list[str]) -> str:
    """Whom a path names."""
    return clip(printable(path_arguments[0])) if path_arguments else ""


def arguments_of(request: Any, whom: str, masking: Masking) -> dict[str, Any]:
    """What a request has said beside its path. Nothing that it holds raises: what was done has to be told."""
    # Tornado's own reading refuses bytes that are no text, which the action itself may never have looked at.
    given = {
        printable(name): [printable(value.decode("utf-8", "replace"))[:VALUE_LENGTH] for value in values]
        for name, values in request.arguments.items()
        if name != "_xsrf"
    }
    try:
        body = json.loads(request.body) if request.body else None
    except (ValueError, RecursionError):
        body = None
    return {**masking.value(given), **(masking.call(whom, body) if isinstance(body, dict) else {})}


def note(app: Any, action: Action) -> None:
    """Writes the row; a ledger that is away holds up no action, and the log says who did what then."""
    url = ledger_url(app)
    if url is None:
        return
    try:
        with writing(url) as connection:
            queries.add_audit(
                connection, actor=action.actor, action=action.name, job_id=action.job_id, details=action.details
            )
    except Exception:
        logger.exception(
            "%s has done %r (%s), and the audit could not be written", action.actor, action.name, action.details
        )
