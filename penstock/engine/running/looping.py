"""Jobs as coroutines: one event loop, in a thread of its own, and in it a greenlet for each job.

Celery's tracer is code that knows no coroutines. So each job's tracer runs in a greenlet, and when it has come to a
body that is a coroutine the greenlet gives way to the job's asyncio task, which awaits the body and then lets the
tracer go on. Task, greenlet and body share one context: what the tracer sets is what the body finds, and no other job.

The child's main thread claims, hears the keeper and watches, so neither a slow Redis nor a lost one stops the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from greenlet import getcurrent, greenlet

from penstock import coroutines
from penstock.engine.running.crew import Beside, Errand, Run, Terminated, left
from penstock.engine.running.desk import ManyDesks
from penstock.engine.running.opening import Job
from penstock.engine.running.watchdog import Watchdog
from penstock.engine.slots import Reason, Slot
from penstock.errors import JobCancelled

CLOSE_SECONDS = 5.0
"""How long tasks that jobs have left behind may take over their cancellation when the child ends."""


OVER = object()
"""What a tracer gives way with when its job has ended."""


class _Tracer(greenlet):
    """Runs the tracers of one job after the other. A new greenlet for each costs about as much as the rest of a job,
    because Python gives each a stack of its own, which the system clears and takes back.
    """


class Coroutine(Errand):
    """One running job."""

    body: coroutines.Body[None] | None = None
    is_terminated = False


class Loop(Beside):
    """A crew, see :class:`penstock.engine.running.crew.Crew`."""

    def __init__(self, slot: Slot, desks: ManyDesks, wake: Callable[[], None], let_go: Callable[[Job], object]) -> None:
        super().__init__(slot, desks, wake, let_go)
        self._is_called = False
        self._idle: list[_Tracer] = []
        self._loop = asyncio.new_event_loop()
        coroutines.set_driver(self._drive)
        self._thread = threading.Thread(target=self._live, name="loop", daemon=True)
        self._thread.start()
        self._watchdog = Watchdog(self._loop, self._thread)

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    # -- by the main thread -------------------------------------------------------------------------------------

    def _call(self) -> None:
        # Whoever looks into the inbox says first that it will: what was put there before is found, for what comes after
        # it is called again.
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon_threadsafe(self._called)

    def _errand(self, job: Job, incarnation: int, run: Run) -> Errand:
        return Coroutine(job, incarnation, run)

    def obey(self) -> None:
        """See :class:`Crew`."""
        self._loop.call_soon_threadsafe(self._obey)

    def close(self) -> None:
        """See :class:`Crew`."""
        self._watchdog.stop()
        ending = asyncio.run_coroutine_threadsafe(self._cancel_rest(), self._loop)
        try:
            ending.result(CLOSE_SECONDS)
        except TimeoutError:
            return  # The process ends, and the loop with it.
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)

    # -- in the loop --------------------------------------------------------------------------------------------

    async def _cancel_rest(self) -> None:
        """What bodies have started and not awaited goes on until the child ends."""
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await self._loop.shutdown_asyncgens()

    def _called(self) -> None:
        self._is_called = False
        self._fill_places()

    def _end(self, errand: Errand) -> None:
        super()._end(errand)
        self._fill_places()

    def _fill_places(self) -> None:
        while self._inbox and self._free:
            try:
                errand = self._inbox.popleft()
            except IndexError:
                return  # It goes back.
            self._seat(errand)
            errand.body = body = coroutines.Body(self._live_as(errand))
            headers = errand.job.headers
            name = f"{headers.get('task')}[{headers.get('id')}]"
            body.task = self._loop.create_task(body, name=name, context=self._context.copy())

    async def _live_as(self, errand: Coroutine) -> None:
        """A job's task: awaits what its tracer comes to, and lets that go on with what came of it."""
        self._desks.sit_down(errand.desk)
        tracer = self._idle.pop() if self._idle else _Tracer(self._trace)
        tracer.gr_context = getcurrent().gr_context
        awaited = tracer.switch(errand)
        while awaited is not OVER:
            try:
                result = await awaited
            except BaseException as error:
                awaited = tracer.throw(self._seen_outside(error, errand))
            else:
                awaited = tracer.switch(result)
        tracer.gr_context = None  # Nothing of the job stays behind.
        self._idle.append(tracer)

    @staticmethod
    def _seen_outside(error: BaseException, errand: Coroutine) -> BaseException:
        if errand.is_terminated and type(error) is asyncio.CancelledError:
            return Terminated()
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            # Others run in this process, which have not asked for its end.
            return left(error)
        return coroutines.as_seen_outside(error, errand.body)

    def _trace(self, errand: Coroutine) -> None:
        """The tracer's greenlet, for each job from the message to the outcome."""
        parent = getcurrent().parent
        assert parent is not None
        while True:
            self._run(errand)
            del errand
            errand = parent.switch(OVER)

    def _drive(self, body: Any) -> Any:
        """Runs a body for the tracer that has come to it; see :func:`penstock.coroutines.run`."""
        tracer = getcurrent()
        if not isinstance(tracer, _Tracer):
            return coroutines.run_here(body)
        assert tracer.parent is not None
        return tracer.parent.switch(body)

    def _obey(self) -> None:
        for number, errand in list(self._errands.items()):
            place, body = errand.desk.place, errand.body
            if body is None or body.task is None or place.get("number") != number:
                continue  # It has not begun, so nobody means it.
            if place.get("soft_target") == number:
                place.put("soft_target", 0)
                body.interrupt(SoftTimeLimitExceeded(place.time("soft_limit")))
            if place.take_cancellation():
                body.interrupt(JobCancelled())
            if place.has_reason(Reason.TERMINATED):
                errand.is_terminated = True
                body.task.cancel()
            elif place.has_reason(Reason.HARD_LIMIT):
                body.interrupt(TimeLimitExceeded(place.time("hard_limit")))
