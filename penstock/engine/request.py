"""Celery's request for a claimed message: a job whose process dies goes back to its queue at once, counted."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from billiard.exceptions import WorkerLostError
from celery.exceptions import InvalidTaskError
from celery.states import STARTED
from celery.worker import state
from celery.worker.request import Request as CeleryRequest

from penstock.broker.claims import Claims
from penstock.job import Reason, State
from penstock.ledger.backend import STARTED_AT, LedgerBackend, cancel_in
from penstock.ledger.delivery import describe_delivery
from penstock.ledger.encoding import encoded
from penstock.ledger.failure import describe_cause
from penstock.ledger.outlet import outlet
from penstock.ledger.records import Record, Step
from penstock.ledger.rows import Outcome

logger = logging.getLogger(__name__)
TOLD = ("deliveries", "crashes", "token", "claimer")
CELERYS, OURS = "celery.worker.request:Request", f"{__name__}:Request"


class Request(CeleryRequest):
    """One delivery of a job in a worker's parent process."""

    _is_shown = False

    def __init__(self, message: Any, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        told = message.delivery_info or {}
        # Celery hands on what it knows itself; the task finds these beside ``redelivered``.
        self._delivery_info.update({name: told[name] for name in TOLD if name in told})
        self._check_parts()

    def _check_parts(self) -> None:
        """What Celery would stumble over later, when the job has a place in the pool that nobody would give back."""
        _ = self.stamps
        _, _, embed = self._payload
        for part, kind, value in (
            ("arguments", (list, tuple), self.args),
            ("keyword arguments", dict, self.kwargs),
            ("callbacks", (dict, type(None)), embed),
        ):
            if not isinstance(value, kind):
                raise InvalidTaskError(f"its {part} are {value!r}")
        limits = list(self.time_limits)
        if len(limits) != 2 or not all(limit is None or isinstance(limit, (int, float)) for limit in limits):
            raise InvalidTaskError(f"its time limits are {limits!r}")

    @cached_property
    def _context(self) -> Any:
        """Celery's; the backend finds in it when the body began, which its process would have told otherwise."""
        context = super()._context
        if self.time_start:
            context.update({STARTED_AT: self.began_at})
        return context

    @property
    def began_at(self) -> datetime | None:
        """When the pool took the job; None before."""
        return datetime.fromtimestamp(self.time_start, UTC) if self.time_start else None

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """Celery's; a task that asks for its start to be tracked has its row at once."""
        super().on_accepted(pid, time_accepted)
        if self.task.track_started:
            self.show()

    def show(self) -> None:
        """Has it written that its body runs, once, if its outcome will be in the ledger."""
        began, keeper = self.began_at, outlet()
        if self._is_shown or began is None or keeper is None or not isinstance(self.task.backend, LedgerBackend):
            return
        self._is_shown = True
        delivery = describe_delivery(self.id, self._context).encoded()
        # What Celery's own tracer stores for such a task, in a process that has no way to the ledger.
        told = {"state": STARTED, "meta": {"pid": self.worker_pid, "hostname": self.hostname}}
        progress = encoded(told) if self.task.track_started else None
        keeper.note(Record(step=Step.RUNNING, delivery=delivery, started_at=began, at=began, progress=progress))

    @property
    def claims(self) -> Claims | None:
        """Where this delivery's claim is; None when it came by a broker without claims."""
        return getattr(self._message.channel, "claims", None)

    @property
    def token(self) -> str:
        """The claim's token."""
        return str(self._message.delivery_tag)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Celery's, except when the process died under the job; and one that its body has cancelled is told of."""
        if self._process_died(exc_info.exception) and self._has_claim():
            return self._on_lost(exc_info)
        if cancel_in(getattr(exc_info.exception, "exc", exc_info.exception)) is not None:
            self.send_event("task-revoked", terminated=False, signum=None, expired=False)
        return super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def _process_died(self, error: BaseException) -> bool:
        error = getattr(error, "exc", error)
        return isinstance(error, (WorkerLostError, SystemExit, KeyboardInterrupt))

    def _has_claim(self) -> bool:
        """False when the job was settled already: acknowledged early, revoked, or ended for another reason."""
        return (
            self.claims is not None
            and self.claims.holds(self.token)
            and not (self._already_revoked or self._already_cancelled)
        )

    def _on_lost(self, exc_info: Any) -> None:
        claims = self.claims
        assert claims is not None
        state.task_ready(self)
        if not {state.should_stop, state.should_terminate} <= {None, False}:
            claims.settle(self.token, "interrupt")  # The operator ended the process; the job is not to blame.
            return
        logger.error("the process of %s[%s] died (%s); the job goes back", self.name, self.id, _in_short(exc_info))
        is_recorded = isinstance(self.task.backend, LedgerBackend)
        if not is_recorded and self._success_was_stored():
            claims.acknowledge(self.token)
            return
        if is_recorded and (keeper := outlet()) is not None:
            keeper.record(self._lost(_in_short(exc_info)))
        # The keeper does not put it back when the ledger knows that the job has ended, or that its retry goes on.
        claims.settle(self.token, "crash", str(claims.crash_limit))

    def _lost(self, how: str) -> Record:
        outcome = Outcome(state=State.QUEUED, reason=Reason.CRASHED, failure=describe_cause(Reason.CRASHED, how))
        return Record(
            step=Step.END,
            delivery=describe_delivery(self.id, self._context).encoded(),
            outcome=outcome.encoded(),
            started_at=self.began_at,
            at=datetime.now(UTC),
        )

    def _announce_cancelled(self, emit_retry: bool = True) -> None:
        """Celery's, for a job that ends with its worker. Its process may live for a moment, so its claim stays."""
        super()._announce_cancelled(emit_retry=emit_retry)
        if self.claims is not None:
            self.claims.interrupt(self.token)

    def abandon(self) -> None:
        """Makes sure that this request, which still waits, never starts here: its claim is somebody else's."""
        self._already_revoked = True
        state.task_ready(self)


def _in_short(exc_info: Any) -> str:
    """billiard's error carries a traceback of the parent, which tells nothing of the child."""
    text = str(exc_info.exception)
    found = re.search(r"WorkerLostError: (.+)", text)
    return found[1] if found else text.strip() or type(exc_info.exception).__name__
