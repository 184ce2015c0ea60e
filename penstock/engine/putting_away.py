"""Messages that no job can be made of here: kept, with the reason, in place of what Celery does, which drops them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from celery import signals
from celery.exceptions import NotRegistered

from penstock.broker import envelope
from penstock.job import Reason, State
from penstock.ledger.backend import LedgerBackend
from penstock.ledger.delivery import describe_message
from penstock.ledger.records import Record, Step
from penstock.ledger.rows import Outcome

logger = logging.getLogger(__name__)
NONSENSE = (TypeError, ValueError, LookupError, AttributeError)
"""What Celery raises over a message whose parts are not what they should be. Lost connections are none of these."""


class PutsAway:
    """A part of a consumer of Celery's, in front of it."""

    app: Any

    @property
    def keeps_claims(self) -> bool:
        """Whether messages come as claims, which have to be ended one way or another."""
        raise NotImplementedError

    def end_claim(self, message: Any, verb: str, first: str = "", second: str = "") -> bool:
        """Ends the claim of a message; False when it had been ended, or taken away, before."""
        raise NotImplementedError

    def record_aside(self, record: Record) -> None:
        """Has it recorded that a job was put aside."""
        raise NotImplementedError

    @contextmanager
    def putting_away_nonsense(self, message: Any) -> Iterator[None]:
        """Inside, a message is made a request of. What cannot be one would end this worker, come back as a crash, and
        end the next.
        """
        try:
            yield
        except NONSENSE as exc:
            logger.warning("cannot make a request of a message", exc_info=True)
            self.put_away(message, f"{type(exc).__name__}: {exc}", exc)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Puts the message aside, from where a worker that knows the task claims it."""
        if not self.keeps_claims:
            super().on_unknown_task(body, message, exc)  # type: ignore[misc]
            return
        name = str(exc.args[0] if exc.args else exc)
        id = _id(message)
        logger.error("no task is called %s here; job %s waits for a worker that knows it", name, id or "without an id")
        if self.end_claim(message, "block", name, id) and isinstance(self.app.backend, LedgerBackend):
            self.record_blocked(message, Reason.UNKNOWN_TASK)
        signals.task_unknown.send(sender=self, message=message, exc=NotRegistered(name), name=name, id=id)

    def record_blocked(self, message: Any, reason: Reason) -> None:
        """Has it recorded that a job was put aside, and why."""
        payload = {"body": message.body, "properties": {}}
        info = {**(message.delivery_info or {}), "routing_key": _queue(message)}
        delivery = describe_message(message.headers, envelope.body(payload), info)
        if delivery is not None:
            aside = Outcome(state=State.BLOCKED, reason=reason)
            now = datetime.now(UTC)
            self.record_aside(Record(step=Step.ASIDE, delivery=delivery.encoded(), outcome=aside, at=now))

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Keeps a message whose body cannot be decoded."""
        if self.keeps_claims:
            self.put_away(message, f"its body cannot be decoded: {exc}", exc)
        else:
            super().on_decode_error(message, exc)  # type: ignore[misc]

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Keeps a message that no job can be made of."""
        if self.keeps_claims:
            self.put_away(message, f"{type(exc).__name__}: {exc}", exc)
        else:
            super().on_invalid_task(body, message, exc)  # type: ignore[misc]

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Keeps a message that is no task message at all."""
        if self.keeps_claims:
            self.put_away(message, "not a task message", None)
        else:
            super().on_unknown_message(body, message)  # type: ignore[misc]

    def put_away(self, message: Any, reason: str, exc: Exception | None) -> None:
        """Buries a message that has an id, and quarantines one that has none."""
        id = _id(message)
        logger.error("message %s on %s is put away: %s", id or "without an id", _queue(message), reason)
        if id:
            self.end_claim(message, "bury", reason, id)
        else:
            self.end_claim(message, "quarantine", reason)
        signals.task_rejected.send(sender=self, message=message, exc=exc)


def _id(message: Any) -> str:
    return envelope.job_id({"headers": message.headers or {}})


def _queue(message: Any) -> str:
    return str((message.delivery_info or {}).get("routing_key"))
