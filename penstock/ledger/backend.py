"""Celery's result backend on the ledger.

`result_backend = "penstock.ledger.backend:LedgerBackend+postgresql://…"`

Every job has a row, whether or not its task ignores its result: ignoring drops the value, not the record. What Celery
reports becomes a record. In a process that runs jobs for a worker it is collected and handed on with the outcome; in
the worker's own process it goes to the keeper; anywhere else it is written at once. Starts, `Ignore` and `Reject` reach
a backend by no method of Celery's, so they are taken from its signals.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import signals, states
from celery.app.task import Context
from celery.backends.base import BaseBackend
from celery.exceptions import Ignore, ImproperlyConfigured, TaskRevokedError
from kombu.exceptions import EncodeError

from penstock.errors import UnserialisableResult
from penstock.job import Reason, State
from penstock.ledger import queries
from penstock.ledger.celery_chords import Chords
from penstock.ledger.collecting import current, following_up
from penstock.ledger.delivery import describe_delivery
from penstock.ledger.encoding import Encoded
from penstock.ledger.failure import describe, reason_for
from penstock.ledger.meta import meta_of
from penstock.ledger.outlet import outlet
from penstock.ledger.recorder import Recorder
from penstock.ledger.records import Record, Step
from penstock.ledger.rows import Delivery, Failure, Outcome
from penstock.ledger.session import address, encode_json, reading, writing
from penstock.ledger.waiting import Waiting
from penstock.message import OUTBOX, PLAIN, to_json
from penstock.retrying import Cancel

STARTED_AT = "ledger_started_at"
"""Attribute of a request: when its body began."""
VERDICT = "ledger_verdict"
"""Attribute of a request whose start was written before its body: what became of that."""
REASON = "ledger_reason"
"""Attribute of a request whose attempt ends for a reason that its error does not tell."""


class LedgerBackend(Chords, Waiting, BaseBackend):
    """Results, states and history in SQL. Constructing connects to nothing."""

    persistent = True
    supports_autoexpire = True  # Retention is a task of its own; Celery's daily clean-up is not needed.

    def __init__(self, app: Any, url: str | None = None, **kwargs: Any) -> None:
        super().__init__(app, url=url, **kwargs)
        self._database = url or ""
        self._recorder = Recorder(self._database)

    def as_uri(self, include_password: bool = False) -> str:
        """The database's address, without its password unless asked for."""
        return self._database if include_password else address(self._database)

    # -- what Celery reports ------------------------------------------------------------------------------------

    def mark_as_done(
        self,
        task_id: str,
        result: Any,
        request: Any = None,
        store_result: bool = True,
        state: str = states.SUCCESS,
    ) -> None:
        """Records a success; an ignored result leaves a row without the value, unless a chord's body wants it."""
        if not _is_eager(request, store_result):
            is_asked_for = store_result and not getattr(request, "ignore_result", False)
            kept = result if is_asked_for or getattr(request, "chord", None) else None
            if state != states.SUCCESS or not self._keep_success(task_id, kept, request):
                self.store_result(task_id, kept, state, request=request)
        if request and request.chord:
            self.on_chord_part_return(request, state, result)

    def _keep_success(self, task_id: str, result: Any, request: Any) -> bool:
        """Leaves a success from which nothing follows to whoever collects, as its result alone; whether it did."""
        collection = current()
        if collection is None or not collection.keeps_success or collection.job_id != task_id:
            return False
        if collection.follow_ups or collection.records or request.chord:
            return False
        if result is not None:
            collection.success = self._encoded(result, request)
        collection.has_succeeded = True
        return True

    def _encoded(self, result: Any, request: Any) -> Encoded:
        try:
            if type(result) in PLAIN:
                return Encoded(to_json(result))
            return Encoded(encode_json(self.prepare_value(result)))
        except UnserialisableResult as error:
            raise _refused(getattr(request, "task", None), error) from error

    def mark_as_failure(
        self,
        task_id: str,
        exc: Any,
        traceback: Any = None,
        request: Any = None,
        store_result: bool = True,
        call_errbacks: bool = True,
        state: str = states.FAILURE,
    ) -> None:
        """Records a failure, also of a task that ignores its results."""
        super().mark_as_failure(
            task_id,
            exc,
            traceback=traceback,
            request=request,
            store_result=not _is_eager(request, store_result),
            call_errbacks=call_errbacks,
            state=state,
        )

    def mark_as_revoked(
        self,
        task_id: str,
        reason: str = "",
        request: Any = None,
        store_result: bool = True,
        state: str = states.REVOKED,
    ) -> None:
        """Records a cancelled or expired job, also of a task that ignores its results."""
        super().mark_as_revoked(
            task_id, reason, request=request, store_result=not _is_eager(request, store_result), state=state
        )

    def mark_as_retry(self, task_id: str, *_: Any, **__: Any) -> None:
        """Nothing: a task that ignores its results does not come here, and all of them send a signal."""

    def record_retry(self, request: Any, retry: Any, einfo: Any) -> None:
        """Records that an attempt asks for another; without a Retry, that its worker hands the job back."""
        if retry is None:
            outcome = Outcome(state=State.QUEUED)
        else:
            error = getattr(retry, "exc", None)
            failure = self._failure(error, getattr(einfo, "traceback", None)) if error is not None else None
            outcome = Outcome(state=State.SCHEDULED, reason=_told_reason(request), failure=failure, due=_due(retry))
        self._end(describe_delivery(request.id, request), outcome, request)

    def _call_task_errbacks(self, request: Any, exc: Any, traceback: Any) -> None:
        """Celery's; what it sends is part of the outcome."""
        with following_up():
            super()._call_task_errbacks(request, exc, traceback)

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **_: Any
    ) -> Any:
        """Tells the ledger what Celery says about a job.

        Raises:
            EncodeError: the result is not JSON; Celery then records the job as failed.
        """
        if state == states.STARTED:
            return result  # Who watches over the worker's jobs tells that.
        delivery = describe_delivery(task_id, request)
        try:
            if state in states.READY_STATES:
                self._end(delivery, self._outcome(result, state, traceback, request), request)
            else:
                self._report(delivery, {"state": state, "meta": self.prepare_value(result)}, request)
        except UnserialisableResult as error:
            raise _refused(delivery.task, error) from error
        return result

    def _end(self, delivery: Delivery, outcome: Outcome, request: Any) -> None:
        collection = current()
        self._tell(
            Record(
                step=Step.END,
                delivery=delivery.encoded(),
                outcome=outcome.encoded(),
                started_at=_started_at(request, delivery.id),
                at=datetime.now(UTC),
                replaced=collection is not None and collection.replaced and collection.job_id == delivery.id,
                outbox_key=getattr(request, OUTBOX, None),
            )
        )

    def _report(self, delivery: Delivery, progress: dict[str, Any], request: Any) -> None:
        now = datetime.now(UTC)
        record = Record(
            step=Step.RUNNING,
            delivery=delivery.encoded(),
            progress=Encoded(encode_json(progress)),
            started_at=_started_at(request, delivery.id) or now,
            at=now,
        )
        if (keeper := outlet()) is not None:
            keeper.report(record)
        else:
            self._recorder.write_patiently(record)

    def _tell(self, record: Record) -> None:
        """By whichever way leads to the ledger from here."""
        if (collection := current()) is not None:
            collection.records.append(record)
        elif (keeper := outlet()) is not None and keeper.is_open:
            keeper.record(record)
        else:
            self._recorder.write_patiently(record)

    def _outcome(self, result: Any, state: str, traceback: Any, request: Any) -> Outcome:
        if state == states.SUCCESS:
            return Outcome(state=State.SUCCEEDED, result=self.prepare_value(result))
        if state in (states.REVOKED, states.REJECTED):
            expired = isinstance(result, TaskRevokedError) and "expired" in str(result)
            return Outcome(state=State.CANCELLED, reason=Reason.EXPIRED if expired else Reason.REVOKED)
        if isinstance(result, BaseException):
            reason = _told_reason(request) or reason_for(result)
            return Outcome(state=State.FAILED, reason=reason, failure=self._failure(result, traceback))
        # update_state(state="FAILURE", meta=…): the task has described the failure itself.
        return Outcome(state=State.FAILED, reason=Reason.ERROR, result=self.prepare_value(result))

    def _failure(self, error: BaseException, traceback: Any) -> Failure:
        exception = self.prepare_exception(error, serializer="json")
        try:
            encode_json(exception)
        except UnserialisableResult:
            exception["exc_message"] = [repr(error)]
        return describe(error, exception, str(traceback) if traceback else None)

    # -- what Celery asks ---------------------------------------------------------------------------------------

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        with reading(self._database) as connection:
            row = queries.find_job(connection, task_id)
        return self.meta_from_decoded(meta_of(row)) if row else {"status": states.PENDING, "result": None}

    def _forget(self, task_id: str) -> None:
        with writing(self._database) as connection:
            queries.forget_job(connection, task_id)

    # -- what Celery tells by signals only ----------------------------------------------------------------------

    def record_start(self, request: Any) -> None:
        """Notes when an attempt's body begins. Nobody else tells the ledger of a job that came without a claim."""
        now = datetime.now(UTC)
        request.update({STARTED_AT: now})
        if current() is None:
            delivery = describe_delivery(request.id, request).encoded()
            start = Record(step=Step.START, delivery=delivery, started_at=now, at=now)
            request.update({VERDICT: self._recorder.write_patiently(start)})

    def record_silent_end(self, request: Any, state: str, retval: Any) -> None:
        """Records an attempt that ended by Ignore or Reject."""
        collection = current()
        if (cancel := cancel_in(retval)) is not None:
            outcome = Outcome(state=State.CANCELLED, reason=Reason.BODY, failure=self._failure(cancel, None))
        elif state == states.IGNORED:
            replaced = collection is not None and collection.replaced
            outcome = Outcome(state=State.QUEUED) if replaced else Outcome(state=State.SUCCEEDED, reason=Reason.IGNORED)
        elif getattr(retval, "requeue", False):
            outcome = Outcome(state=State.QUEUED)
        else:
            outcome = Outcome(state=State.FAILED, reason=Reason.REJECTED, failure=self._rejection(retval))
        self._end(describe_delivery(request.id, request), outcome, request)
        # Without a collection nobody knows whether another task goes on in the place of a job that was ignored.
        if outcome.state.is_final and (collection is not None or cancel is not None):
            self.on_chord_part_return(request, state if cancel is None else states.REVOKED, retval)

    def _rejection(self, reject: BaseException) -> Failure:
        """What the task gave as its reason: an exception, or a text."""
        reason = getattr(reject, "reason", None)
        if isinstance(reason, BaseException):
            return self._failure(reason, None)
        return replace(self._failure(reject, None), message=str(reason or "rejected"))


def _told_reason(request: Any) -> Reason | None:
    """Not from the message, whose headers are attributes of a request as well: those have no such type."""
    reason = getattr(request, REASON, None)
    return reason if isinstance(reason, Reason) else None


def cancel_in(end: BaseException | None) -> Cancel | None:
    """What a body has raised, of an Ignore that says so."""
    cause = end.args[0] if isinstance(end, Ignore) and end.args else None
    return cause if isinstance(cause, Cancel) else None


def _refused(task: Any, error: UnserialisableResult) -> EncodeError:
    return EncodeError(f"{task} returned what is {error}; return plain JSON values")


def _started_at(request: Any, id: str) -> datetime | None:
    """When the body began, as a signal of Celery's told this backend, or as whoever runs it has told.

    Of that job alone: what it ends with it, as the body of a chord that cannot start any more, has never begun.
    """
    told: datetime | None = getattr(request, STARTED_AT, None)
    collection = current()
    if told is None and collection is not None and collection.job_id == id and collection.started is not None:
        return datetime.fromtimestamp(collection.started, UTC)
    return told


def _is_eager(request: Any, store_result: bool) -> bool:
    """Whether this is a call in the caller's own process whose result nobody asked to keep."""
    return bool(getattr(request, "is_eager", False)) and not store_result


def _due(retry: Any) -> datetime | None:
    """When a retry may start, which Celery tells as a time or as seconds from now."""
    when = getattr(retry, "when", None)
    if isinstance(when, datetime):
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return datetime.now(UTC) + timedelta(seconds=when if isinstance(when, (int, float)) else 0)


def leave_to_tracer() -> None:
    """In a process that opens and fills its collections itself: two signals of Celery's have nothing to tell there.

    A signal that nobody listens to costs nothing, and these two would cost a third of what the tracer does.
    """
    signals.task_prerun.disconnect(_on_prerun)
    signals.task_postrun.disconnect(_on_postrun)


@signals.task_prerun.connect(weak=False)
def _on_prerun(task: Any = None, **_: Any) -> None:
    request: Context = task.request
    if isinstance(task.backend, LedgerBackend) and not request.is_eager:
        if (collection := current()) is not None and collection.job_id == request.id:
            collection.is_on_the_books = True
        task.backend.record_start(request)


@signals.task_retry.connect(weak=False)
def _on_retry(sender: Any = None, request: Any = None, reason: Any = None, einfo: Any = None, **_: Any) -> None:
    if isinstance(sender.backend, LedgerBackend) and request is not None and not request.is_eager:
        sender.backend.record_retry(request, reason, einfo)


@signals.task_postrun.connect(weak=False)
def _on_postrun(task: Any = None, state: str | None = None, retval: Any = None, **_: Any) -> None:
    silent = state in (states.IGNORED, states.REJECTED)
    if silent and isinstance(task.backend, LedgerBackend) and not task.request.is_eager:
        task.backend.record_silent_end(task.request, state or "", retval)


def ledger_url(app: Any) -> str | None:
    """Address of the ledger that an application's results go to; None when they go elsewhere."""
    try:
        backend = app.backend
    except (ImproperlyConfigured, ImportError):
        return None
    return backend.as_uri(include_password=True) if isinstance(backend, LedgerBackend) else None
