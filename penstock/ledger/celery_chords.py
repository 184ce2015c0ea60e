"""Celery's chords on the ledger: the parts' own messages say how many there are, and whoever ends counts.

Nobody polls, and nothing has to be written when a chord is sent. A part is counted in the transaction that writes its
end (``penstock.ledger.recording.chords``), the last one brings Celery's ``chord_unlock`` with it, and that job finds
all results in one query. What it sends is part of its own outcome, so the body starts once, whoever dies in between.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from traceback import format_exception
from typing import TYPE_CHECKING, Any

from celery import states
from celery._state import get_current_task
from celery.app.task import Context
from celery.canvas import _chain, _chord, group, maybe_signature
from celery.result import ResultSet
from celery.utils.functional import maybe_list

from penstock.job import State
from penstock.ledger.collecting import current
from penstock.ledger.delivery import describe_delivery
from penstock.ledger.recording.chords import add_part
from penstock.ledger.records import Part, Record, Step
from penstock.ledger.rows import Outcome
from penstock.ledger.session import writing
from penstock.ledger.unlocking import CHORD_SIZE, UNLOCK_TASK, ids_of, part_of
from penstock.ledger.waiting import Meta

if TYPE_CHECKING:
    from celery.backends.base import BaseBackend as Base
else:
    Base = object

PARTS = "ledger_parts"
"""Attribute of the request of a job that joins a chord: what has become of the parts."""

ENDS = {states.SUCCESS: State.SUCCEEDED, states.IGNORED: State.SUCCEEDED, states.REVOKED: State.CANCELLED}
"""Celery's final states that are no failures."""


class Chords(Base):
    """For the bases of the ledger's backend, before Celery's own."""

    app: Any
    _database: str

    def apply_chord(self, header_result_args: Any, body: Any, **_: Any) -> None:
        """Tells the parts, which are sent next with this very body, how many they are.

        A header with groups in it is saved: the body gets a list for each of these, and only the sender knows them.
        """
        self.ensure_chords_allowed()
        header = self.app.GroupResult(*header_result_args)
        body[CHORD_SIZE] = sum(1 for result in header.results for _ in _leaves(result))
        if any(isinstance(result, ResultSet) for result in header.results):
            self.save_group(header.id, header)

    def add_to_chord(self, chord_id: str, result: Any) -> None:
        """Makes the chord of the running job wait for one job more."""
        part = self._part(get_current_task().request)
        if part is None:
            super().add_to_chord(chord_id, result)
            return
        with writing(self._database) as connection:
            add_part(connection, chord_id, part.total)

    def on_chord_part_return(self, request: Any, state: str, result: Any, **_: Any) -> None:
        """Counts a part whose job has ended, together with that end."""
        part = self._part(request)
        if part is None:
            return
        if (collection := current()) is not None:
            collection.parts.append(part)
            return
        # Its end has just been told; told again, it changes nothing but the count.
        delivery = describe_delivery(request.id, request).encoded()
        outcome = Outcome(state=ENDS.get(state, State.FAILED))
        self._tell(Record(step=Step.END, delivery=delivery, outcome=outcome, at=datetime.now(UTC), parts=(part,)))

    def _part(self, request: Any) -> Part | None:
        queue = self._queue_of(request)
        return part_of(request.id, request.group, request.group_index, request.chord, queue, request.root_id)

    def _queue_of(self, request: Any) -> str:
        """The queue of a job; one that never ran has none, and a worker of the running job's will do for its chord."""
        running = getattr(get_current_task(), "request", None)
        for each in (request, running):
            queue = ((each and each.delivery_info) or {}).get("routing_key")
            if isinstance(queue, str) and queue:
                return queue
        return str(self.app.conf.task_default_queue)

    # -- failures -----------------------------------------------------------------------------------------------

    def chord_error_from_stack(self, callback: Any, exc: Any = None) -> None:
        """Fails the body of a chord: each of its tasks ends as if it had run and raised this.

        So a body that is itself part of another chord is counted there, and what follows it in a chain fails as well.
        Celery's own way knows neither.
        """
        exc = sys.exc_info()[1] if exc is None else exc
        callback = maybe_signature(callback, app=self.app)
        if isinstance(callback, group):
            exc = exc.__cause__ or exc  # Celery's: members of a group get the error itself.
        traceback = "".join(format_exception(exc))
        for task, errbacks in _tasks_of(callback):
            request = _request_of(task, errbacks)
            if request.id:
                self.mark_as_failure(request.id, exc, traceback, request=request)
        self._fail_chain(callback.options.get("chain"), exc, traceback)

    def _fail_chain(
        self,
        chain: Any,
        exc: Any,
        traceback: Any = None,
        store_result: bool = True,
        state: str = states.FAILURE,
    ) -> None:
        """Celery's, for each task of the steps: of a step that is a group, all of them count in a chord."""
        steps = chain if isinstance(chain, (list, tuple)) else []
        tasks = [task for step in steps for task, _ in _tasks_of(maybe_signature(step, app=self.app))]
        super()._fail_chain(tasks, exc, traceback, store_result=store_result, state=state)

    # -- joining ------------------------------------------------------------------------------------------------

    def get_task_meta(self, task_id: str, cache: bool = True) -> Any:
        """Celery's; a job that joins a chord reads all parts at once, though Celery asks for one after the other."""
        return self._parts_here().get(task_id) or super().get_task_meta(task_id, cache=cache)

    def _at_hand(self, ids: set[str]) -> dict[str, Meta]:
        here = self._parts_here()
        return {**super()._at_hand(ids), **{id: here[id] for id in ids & here.keys()}}

    def _parts_here(self) -> Mapping[str, Meta]:
        """The parts that have ended of the chord that is joined in this task; nothing elsewhere. A final state never
        changes.
        """
        task = get_current_task()
        if task is None or task.name != UNLOCK_TASK:
            return {}
        found: dict[str, Meta] | None = getattr(task.request, PARTS, None)
        if found is None:
            found = self._read_ended(set(ids_of(task.request.kwargs.get("result") or ())))
            task.request.update({PARTS: found})
        return found

    if TYPE_CHECKING:

        def _tell(self, record: Record) -> None: ...
        def _read_ended(self, ids: set[str]) -> dict[str, Meta]: ...


def _leaves(result: Any) -> Iterator[Any]:
    """The jobs of a result, which may be a group's."""
    if isinstance(result, ResultSet):
        for member in result.results:
            yield from _leaves(member)
    else:
        yield result


def _tasks_of(signature: Any, errbacks: tuple[Any, ...] = ()) -> Iterator[tuple[Any, list[Any]]]:
    """The tasks of a signature that will not run, each with the errbacks that are to be called for it.

    Those of a chain are called once, for its last task, whose result is the chain's.
    """
    own = (*errbacks, *(maybe_list(signature.options.get("link_error")) or ()))
    if isinstance(signature, group):
        for task in signature.tasks:
            yield from _tasks_of(maybe_signature(task), own)
    elif isinstance(signature, _chain):
        *steps, last = signature.tasks
        for step in steps:
            yield from ((task, []) for task, _ in _tasks_of(maybe_signature(step)))
        yield from _tasks_of(maybe_signature(last), own)
    elif isinstance(signature, _chord):
        yield from _tasks_of(maybe_signature(signature.body), own)
    else:
        yield signature, [errback for place, errback in enumerate(own) if errback not in own[:place]]


def _request_of(task: Any, errbacks: list[Any]) -> Any:
    """A request as the task would have had it."""
    options = task.options
    return Context(
        {
            **options,
            "id": options.get("task_id"),
            "task": task.task,
            "args": task.args,
            "kwargs": task.kwargs,
            "group": options.get("group_id"),
            "errbacks": errbacks,
            "chain": None,
            "delivery_info": {},
        }
    )
