"""The handle of a submitted job, which can be asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from penstock.actor import actor
from penstock.client.looking import Asked, Known, Waiting, afind_row, afind_waiting, find_rows, find_waiting
from penstock.client.publishing import publisher
from penstock.errors import BrokerUnavailable, NotCancellable
from penstock.job import State
from penstock.log import cursor_of
from penstock.results import failure_of, pauses
from penstock.task import declared_task
from penstock.threads import in_a_thread, noted

if TYPE_CHECKING:
    from penstock.cancelling import Cancelled, Meaning
    from penstock.ledger.outbox import OutboxRow
    from penstock.ledger.rows import JobRow
    from penstock.log import Cursor, Log
    from penstock.progress import Progress
    from penstock.watching import News, Watch
    from penstock.why.reason import Why

R = TypeVar("R")


NOWHERE = Waiting(None, None)
CANCEL_GRACE = 10.0
"""Seconds that a body which is cancelled has to stop by itself, unless the request says else."""
LAST_LOOK_SECONDS = 1.0
"""For a look at the ledger that begins when the time that was given is over, or has not ended by then."""


class Job(Generic[R]):
    """A submitted job. Its attributes do no I/O; ``refresh`` and ``result`` ask for news."""

    __slots__ = ("_outbox_row", "_waiting", "id", "progress", "queue", "row", "task")

    def __init__(self, id: str, task: str, queue: str | None = None) -> None:
        """Args:
        queue: where it was put, if that is known.
        """
        self.id = id
        self.task = task
        self.queue = queue
        self.row: JobRow | None = None
        self.progress: Progress | None = None
        """How far the last attempt that has said so was at the last refresh."""
        self._outbox_row: OutboxRow | None = None
        self._waiting: State | None = None

    def __repr__(self) -> str:
        return f"<Job {self.id} of {self.task}>"

    @property
    def state(self) -> State | None:
        """The state at the last refresh: the ledger's, or else where the job waits.

        None when neither knew it: a worker had just claimed it, or it was never submitted, or not by us. What
        :meth:`cancel` has done shows after the next refresh; one that raises NotCancellable has read the job's end.
        """
        known = self.row or self._outbox_row
        return known.state if known else self._waiting

    def refresh(self) -> Job[R]:
        """Reads the job's row and how far it is; without a row, asks the outbox and then Redis whether it waits.

        Raises:
            LedgerUnavailable: the SQL database does not answer.
            BrokerUnavailable: there is no row, and Redis does not answer; where it was seen to wait before stays.
        """
        if not self._read_row():
            (found,) = find_waiting([self._asked])
            self._take(found)
            if found == NOWHERE:
                self._read_row()  # It may have ended between the two questions.
        return self

    async def arefresh(self) -> Job[R]:
        """As :meth:`refresh`, without holding up the loop: jobs that are asked for together are read together."""
        if not await self._aread_row():
            found = await afind_waiting(self.id, self.queue)
            self._take(found)
            if found == NOWHERE:
                await self._aread_row()
        return self

    def why(self) -> Why:
        """Why it does not run: a sentence, and the facts behind it. Of one that runs or has ended it says so.

        No worker is asked: Redis and the ledger know what those have written down. Where one of both does not answer,
        the other is asked alone.
        """
        from penstock.why.explaining import explain
        from penstock.why.subject import look

        known = publisher()
        subject = look(
            self.id,
            known.settings.database_url,
            known.broker,
            lease_seconds=known.settings.lease_seconds,
            named_queue=self.queue,
        )
        return explain(subject)

    async def awhy(self) -> Why:
        """As :meth:`why`, without holding up the loop."""
        return await in_a_thread(self.why)

    def logs(self, *, after: str | None = None, level: str | int = "debug") -> Log:
        """What its attempts have logged so far, in their order, as far as it is kept.

        Args:
            after: the cursor of what was read before: only what comes behind it.
            level: of Python's, by its name or as a number; lines below it are passed over.

        Raises:
            ArgumentError: there is no such level, or the cursor is none.
            LedgerUnavailable: the SQL database does not answer.
        """
        from penstock.watching import read_logs

        return read_logs(publisher().settings.database_url, self.id, after, level)

    async def alogs(self, *, after: str | None = None, level: str | int = "debug") -> Log:
        """As :meth:`logs`, without holding up the loop."""
        return await in_a_thread(partial(self.logs, after=after, level=level))

    def watch(self, *, after: str | None = None, timeout: float | None = None) -> Iterator[News]:
        """News of the job as they come, from any process, until it has ended: its state, how far it is, what it logs.

        The first ones come at once. The ledger is looked at four times a second while there is news, and every other
        second while there is none.

        Args:
            after: ``cursor`` of the last news that were seen: lines of the log before it are passed over.
            timeout: seconds; None: as long as it takes.

        Raises:
            ArgumentError: the cursor is none.
            TimeoutError: it has not ended in time; it goes on.
            LedgerUnavailable: the SQL database does not answer.
        """
        return self._news(self._watch(cursor_of(after), timeout))

    def _news(self, watch: Watch) -> Iterator[News]:
        with publisher().hearing.ear([self.id]) as ear:
            for pause in watch.pauses():
                ear.wait(pause)
                if (news := watch.look()) is not None:
                    yield news

    def awatch(self, *, after: str | None = None, timeout: float | None = None) -> AsyncIterator[News]:
        """As :meth:`watch`, for ``async for``.

        Raises:
            TimeoutError: it has not ended in time, or the ledger did not say so; also while the SQL database is silent.
        """
        return self._anews(cursor_of(after), timeout)

    async def _anews(self, after: Cursor, timeout: float | None) -> AsyncIterator[News]:
        from penstock.client.ears import alistening

        async with alistening([self.id]) as ear:
            # Its module is heavy to import.
            watch = await in_a_thread(self._watch, after, timeout)
            for pause in watch.pauses():
                await ear.wait(pause)
                if (news := await self._look(watch)) is not None:
                    yield news

    async def _look(self, watch: Watch) -> News | None:
        """What is new; the handle is written by the loop, and a thread reads the log."""
        from asyncio import timeout as limit

        from penstock.watching import Standing

        left = watch.seconds_left
        try:
            async with limit(None if left is None else left + LAST_LOOK_SECONDS):
                with suppress(BrokerUnavailable):
                    await self.arefresh()
                return await in_a_thread(watch.compare, Standing.of(self))
        except TimeoutError:
            raise TimeoutError(f"{self!r}: the ledger did not say in time how it stands") from None

    def _watch(self, after: Cursor, timeout: float | None) -> Watch:
        from penstock.watching import Watch

        return Watch(publisher().settings.database_url, self, after, timeout)

    def cancel(self, reason: str | None = None, grace: float | None = CANCEL_GRACE) -> Meaning:
        """Cancels the job, whatever it is doing; what that means for it.

        One that waits never starts. A body that runs is asked to stop: ``current_job().is_cancelled`` becomes true,
        and where it can hear, :class:`~penstock.errors.JobCancelled` is raised in it. A body that has not stopped
        when its grace is over is stopped. To repeat it does no harm.

        Args:
            reason: why, for the audit and ``jobs show``.
            grace: seconds that a body has to stop by itself; 0: none; None: as long as it takes.

        Raises:
            NotCancellable: it had ended already, and not because somebody cancelled it; also by its body's own Cancel,
                or because it expired.
            LedgerUnavailable: SQL does not answer; nothing is cancelled.
            BrokerUnavailable: Redis does not answer, and a worker may have the job; call it again.
        """
        return self._meaning(self._cancel(reason, grace))

    async def acancel(self, reason: str | None = None, grace: float | None = CANCEL_GRACE) -> Meaning:
        """As :meth:`cancel`, without holding up the loop.

        Raises:
            CancelledError: with a note that says what may become of the job.
        """
        with noted(lambda: f"job {self.id}: it may be cancelled all the same; call acancel again, or arefresh tells"):
            done = await in_a_thread(self._cancel, reason, grace)
        return self._meaning(done)

    def _cancel(self, reason: str | None, grace: float | None) -> Cancelled:
        from penstock.cancelling import cancel

        known = publisher()
        return cancel(known.settings.database_url, known.broker, [self.id], actor=actor(), grace=grace, reason=reason)

    def _meaning(self, done: Cancelled) -> Meaning:
        from penstock.cancelling import end_in_words

        for row in done.ended:
            self.row = row
            raise NotCancellable(f"job {self.id} of {self.task} has already ended: {end_in_words(row)}")
        return done.means[self.id]

    @property
    def _asked(self) -> Asked:
        return Asked(publisher(), self.id, self.queue)

    def _read_row(self) -> JobRow | None:
        (known,) = find_rows([self._asked])
        return self._note(known)

    async def _aread_row(self) -> JobRow | None:
        return self._note(await afind_row(self.id))

    def _note(self, known: Known) -> JobRow | None:
        self.row, self.progress = known
        if self.row:
            self._take(NOWHERE)
        return self.row

    def _take(self, found: Waiting) -> None:
        self._outbox_row, self._waiting = found

    def result(self, timeout: float) -> R:
        """Waits up to ``timeout`` seconds for the job to end and returns what its body returned.

        It is what the annotation of the task's body says, where the task has been imported, or else plain JSON.

        Raises:
            JobFailed: it failed or was cancelled.
            UnreadableResult: what is recorded is not what the annotation says.
            TimeoutError: it has not ended in time; it goes on.
            LedgerUnavailable: the SQL database does not answer.
        """
        if timeout <= 0:
            self._read_row()
            return self._value(timeout)
        with publisher().hearing.ear([self.id]) as ear:
            for pause in pauses(timeout):
                ear.wait(pause)
                if self._has_ended():
                    break
        return self._value(timeout)

    async def aresult(self, timeout: float) -> R:
        """As :meth:`result`; any number of tasks may wait, on one connection to Redis and two to SQL.

        Raises:
            TimeoutError: it has not ended in time, or the ledger did not say so; also while the SQL database is silent.
        """
        from asyncio import timeout as limit

        from penstock.client.ears import alistening

        if timeout <= 0:
            await self._aread_row()
            return self._value(timeout)
        try:
            async with limit(timeout + LAST_LOOK_SECONDS), alistening([self.id]) as ear:
                for pause in pauses(timeout):
                    await ear.wait(pause)
                    row = await self._aread_row()
                    if row is not None and row.state.is_final:
                        break
        except TimeoutError:
            raise TimeoutError(f"{self!r}: the ledger did not say within {timeout:g} s whether it has ended") from None
        return self._value(timeout)

    def _has_ended(self) -> bool:
        row = self._read_row()
        return row is not None and row.state.is_final

    def _value(self, timeout: float) -> R:
        if self.row is None or not self.row.state.is_final:
            raise TimeoutError(f"{self!r} has not ended within {timeout:g} s; it goes on")
        if self.row.state is not State.SUCCEEDED:
            raise failure_of(self.row)
        # What has replaced the task has its own result, and its name in the row.
        declared = declared_task(self.row.task)
        conversion = declared.conversion if declared else None
        return cast(R, self.row.result if conversion is None else conversion.decode_result(self.row.result))
