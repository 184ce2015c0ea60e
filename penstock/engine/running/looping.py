"""Jobs as coroutines: one event loop, in a thread of its own, and in it a greenlet for each job.

Celery's tracer is code that knows no coroutines. So each job's tracer runs in a greenlet, and when it has come to a
body that is a coroutine the greenlet gives way to the job's asyncio task, which awaits the body and then lets the
tracer go on. Task, greenlet and body share one context: what the tracer sets is what the body finds, and no other job.

The child's main thread claims, hears the keeper and watches, so neither a slow Redis nor a lost one stops the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from greenlet import getcurrent, greenlet

from penstock import coroutines
from penstock.engine.running.crew import Run
from penstock.engine.running.desk import Desk, ManyDesks
from penstock.engine.running.opening import Job
from penstock.engine.running.watchdog import Watchdog
from penstock.engine.slots import Reason, Slot
from penstock.errors import BodyLeft

logger = logging.getLogger(__name__)
CLOSE_SECONDS = 5.0
"""How long tasks that jobs have left behind may take over their cancellation when the child ends."""


class Terminated(BaseException):
    """A job was revoked while it ran: it leaves its tracer without an outcome, which whoever revoked it records."""


class _Tracer(greenlet):
    """One job's."""


class Errand:
    """One running job."""

    __slots__ = ("at", "body", "desk", "is_terminated", "job", "run")

    def __init__(self, at: int, job: Job, desk: Desk, run: Run) -> None:
        self.at = at
        self.job = job
        self.desk = desk
        self.run = run
        self.body: coroutines.Body[None] | None = None
        self.is_terminated = False


class Loop:
    """A crew, see :class:`penstock.engine.running.crew.Crew`."""

    is_beside = True

    def __init__(self, slot: Slot, desks: ManyDesks, wake: Callable[[], None], let_go: Callable[[Job], object]) -> None:
        """Args:
        wake: wakes the child's main thread.
        let_go: gives up a claim that somebody else ends.
        """
        self._slot = slot
        self._desks = desks
        self._wake = wake
        self._let_go = let_go
        self._free = list(range(len(slot.places)))
        self._inbox: deque[Errand] = deque()
        self._is_called = False
        self._started = self._ended = 0
        """The first is the main thread's to count, the second the loop's."""
        self._is_awaited = False
        self._errands: dict[int, Errand] = {}
        for place in slot.places:
            place.put("pid", slot.get("pid"))
            place.put("fork", slot.get("fork"))
        self._loop = asyncio.new_event_loop()
        self._context = contextvars.copy_context()
        coroutines.set_driver(self._drive)
        self._thread = threading.Thread(target=self._live, name="loop", daemon=True)
        self._thread.start()
        self._watchdog = Watchdog(self._loop, self._thread)

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    # -- by the main thread -------------------------------------------------------------------------------------

    @property
    def running(self) -> int:
        """See :class:`Crew`."""
        return self._started - self._ended

    @property
    def room(self) -> int:
        """See :class:`Crew`."""
        return len(self._slot.places) - self.running

    def start(self, job: Job, incarnation: int, run: Run) -> None:
        """See :class:`Crew`. There is a free place: one is free again before its job counts as ended."""
        at = heapq.heappop(self._free)
        place = self._slot.places[at]
        place.put("incarnation", incarnation)
        if at >= self._slot.get("used"):
            self._slot.put("used", at + 1)
        self._started += 1
        self._inbox.append(Errand(at, job, Desk(place), run))
        # Whoever empties the inbox says first that it will: what was put there before is found, for what comes after
        # it is called again.
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon_threadsafe(self._empty_inbox)

    def ask_for_wake(self) -> None:
        """See :class:`Crew`."""
        self._is_awaited = True

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

    def _empty_inbox(self) -> None:
        self._is_called = False
        while self._inbox:
            errand = self._inbox.popleft()
            errand.body = body = coroutines.Body(self._live_as(errand))
            headers = errand.job.headers
            name = f"{headers.get('task')}[{headers.get('id')}]"
            body.task = self._loop.create_task(body, name=name, context=self._context.copy())
            self._errands[errand.job.number] = errand

    async def _live_as(self, errand: Errand) -> None:
        """A job's task: awaits what its tracer comes to, and lets that go on with what came of it."""
        self._desks.sit_down(errand.desk)
        tracer = _Tracer(self._trace)
        tracer.gr_context = getcurrent().gr_context
        awaited = tracer.switch(errand)
        while not tracer.dead:
            try:
                result = await awaited
            except BaseException as error:
                awaited = tracer.throw(self._seen_outside(error, errand))
            else:
                awaited = tracer.switch(result)

    @staticmethod
    def _seen_outside(error: BaseException, errand: Errand) -> BaseException:
        if errand.is_terminated and type(error) is asyncio.CancelledError:
            return Terminated()
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            # Others run in this process, which have not asked for its end.
            return BodyLeft(f"the body raised {error!r}, which would have ended the jobs beside it as well")
        return coroutines.as_seen_outside(error)

    def _trace(self, errand: Errand) -> None:
        """The tracer's greenlet, from the message to the outcome."""
        try:
            errand.run(errand.job)
        except Terminated:
            self._let_go(errand.job)
        except BaseException:
            # As where a job has the process for itself: its claim, and those of the others, are the keeper's now.
            logger.exception("a job cannot be run, and its child ends")
            logging.shutdown()
            os._exit(1)
        self._end(errand)

    def _drive(self, body: Any) -> Any:
        """Runs a body for the tracer that has come to it; see :func:`penstock.coroutines.run`."""
        tracer = getcurrent()
        if not isinstance(tracer, _Tracer):
            return coroutines.run_here(body)
        assert tracer.parent is not None
        return tracer.parent.switch(body)

    def _end(self, errand: Errand) -> None:
        place = errand.desk.place
        place.end(0)
        del self._errands[errand.job.number]
        heapq.heappush(self._free, errand.at)
        self._ended += 1
        if self._is_awaited:
            self._is_awaited = False
            self._wake()

    def _obey(self) -> None:
        for number, errand in list(self._errands.items()):
            place, body = errand.desk.place, errand.body
            if body is None or body.task is None or place.get("number") != number:
                continue  # It has not begun, so nobody means it.
            if place.get("soft_target") == number:
                place.put("soft_target", 0)
                body.interrupt(SoftTimeLimitExceeded(place.time("soft_limit")))
            if place.has_reason(Reason.TERMINATED):
                errand.is_terminated = True
                body.task.cancel()
            elif place.has_reason(Reason.HARD_LIMIT):
                body.interrupt(TimeLimitExceeded(place.time("hard_limit")))
