"""Jobs in threads, for bodies that wait in calls which block: as many at once as there are places.

A limit, or a revocation, is an exception that is set in the job's thread while its body runs, and is taken back if the
body has ended before it was raised. A coroutine hears of it where it waits.
"""

from __future__ import annotations

import contextvars
import ctypes
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded

from penstock import coroutines
from penstock.engine.running.crew import Beside, Errand, Run, Terminated, left
from penstock.engine.running.desk import ManyDesks
from penstock.engine.running.opening import Job
from penstock.engine.slots import Reason, Slot
from penstock.errors import JobCancelled

_current: contextvars.ContextVar[Threaded | None] = contextvars.ContextVar("penstock_errand", default=None)


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """Has an exception raised in a thread when it runs Python's code next; None: no more."""
    # Without a kind a null pointer, which ctypes makes of a bare None alone.
    given = ctypes.py_object(kind) if kind is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), given)


class Threaded(Errand):
    """One running job."""

    def __init__(self, job: Job, incarnation: int, run: Run) -> None:
        super().__init__(job, incarnation, run)
        self.thread = 0
        self._is_open = self._is_struck = False
        self._lock = threading.Lock()

    def guarded(self, body: Callable[[], Any]) -> Any:
        """Runs the body, in which alone an exception from outside may be raised."""
        if self._is_open:
            return body()  # It calls itself.
        try:
            self._is_open = True
            return body()
        except SoftTimeLimitExceeded as error:
            raise _with(error, self.desk.place.time("soft_limit")) from error.__cause__
        except TimeLimitExceeded as error:
            raise _with(error, self.desk.place.time("hard_limit")) from error.__cause__
        except (SystemExit, KeyboardInterrupt) as error:
            raise left(error) from error
        finally:
            try:
                self._close()
            finally:
                self._is_open = False

    def _close(self) -> None:
        """What was set and not raised yet is taken back; under the lock, so that nothing is set any more."""
        with self._lock:
            self._is_open = False
            if self._is_struck:
                self._is_struck = False
                _raise_in(self.thread, None)

    def strike(self, error: BaseException) -> bool:
        """Raises the error in the body, if that runs; whether it does."""
        with self._lock:
            if self._is_open and not coroutines.interrupt_in(self.thread, error):
                self._is_struck = True
                _raise_in(self.thread, type(error))
            return self._is_open


def _with(error: Exception, limit: float) -> Exception:
    """The interpreter makes the exception that it raises in a thread, and knows nothing of limits."""
    return error if error.args else type(error)(limit).with_traceback(error.__traceback__)


class Threads(Beside):
    """A crew, see :class:`penstock.engine.running.crew.Crew`."""

    def __init__(self, slot: Slot, desks: ManyDesks, wake: Callable[[], None], let_go: Callable[[Job], object]) -> None:
        super().__init__(slot, desks, wake, let_go)
        self._bell: SimpleQueue[bool] = SimpleQueue()
        """A thread goes on for each True, and ends for a False."""
        self._is_called = False
        self._latest: Errand | None = None
        self._asked: SimpleQueue[None] = SimpleQueue()
        threading.Thread(target=self._listen, name="limits", daemon=True).start()
        for number in range(len(slot.places)):
            threading.Thread(target=self._work, name=f"job-{number + 1}", daemon=True).start()

    def _errand(self, job: Job, incarnation: int, run: Run) -> Errand:
        return Threaded(job, incarnation, run)

    def obey(self) -> None:
        """See :class:`Crew`. By another thread: a signal's handler must not wait for a lock."""
        self._asked.put(None)

    def close(self) -> None:
        """See :class:`Crew`."""
        for _ in self._slot.places:
            self._bell.put(False)

    def _call(self) -> None:
        """Has one more thread look into the inbox, unless one is on its way: it finds what was put there before."""
        if not self._is_called:
            self._is_called = True
            self._bell.put(True)

    # -- in other threads ---------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Each thread calls the next one and does not wait for it: that comes when the interpreter is free, because
        this one's body waits for something, or after a moment. Until then short jobs are over one after the other,
        without a change of threads between them. A thread that another one has overtaken rests after its job, so of
        those whose bodies do not wait only a few ask the interpreter for their turn at any time, and not all.
        """
        while self._bell.get():
            # Before the look: what was put there without a call, as this one was on its way, is found.
            self._is_called = False
            while self._inbox:
                try:
                    errand = self._inbox.popleft()
                except IndexError:
                    break  # Another thread was quicker.
                self._latest = errand
                if self._inbox:
                    self._call()
                errand.thread = threading.get_ident()
                self._seat(errand)  # There are as many places as threads, and each has one at a time.
                self._context.copy().run(self._live_as, errand)
                if self._latest is not errand:
                    break  # Whoever has overtaken it has called somebody for what was left then.

    def _live_as(self, errand: Threaded) -> None:
        self._desks.sit_down(errand.desk)
        _current.set(errand)
        self._run(errand)

    def _listen(self) -> None:
        while True:
            self._asked.get()
            self._obey()

    def _obey(self) -> None:
        for number, errand in list(self._errands.items()):
            place = errand.desk.place
            if place.get("number") != number:
                continue  # It has not begun, so nobody means it.
            if place.get("soft_target") == number and errand.strike(SoftTimeLimitExceeded(place.time("soft_limit"))):
                place.put("soft_target", 0)
            # Taken when the body hears of it: one that has not begun yet is asked again.
            if place.get("cancel_target") == number and errand.strike(JobCancelled()):
                place.put("cancel_target", 0)
            if place.has_reason(Reason.TERMINATED):
                errand.strike(Terminated())
            elif place.has_reason(Reason.HARD_LIMIT):
                errand.strike(TimeLimitExceeded(place.time("hard_limit")))


def guard(app: Any) -> None:
    """Has the bodies of all tasks hear of limits, and nothing else that runs in their threads. Before the tracers."""
    for task in app.tasks.values():
        task.run = _guarded(task.run)


def _guarded(run: Callable[..., Any]) -> Callable[..., Any]:
    def body(*args: Any, **kwargs: Any) -> Any:
        errand = _current.get()
        if errand is None or errand.thread != threading.get_ident():
            return run(*args, **kwargs)
        return errand.guarded(lambda: run(*args, **kwargs))

    return body
