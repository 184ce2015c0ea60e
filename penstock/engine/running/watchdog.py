"""Tells which job holds up the loop that all jobs of a child share: its name, and where in its code it is."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from types import FrameType

logger = logging.getLogger(__name__)
BEAT_SECONDS = 0.25
BLOCKED_SECONDS = 1.0
"""A loop that has not turned for so long is held up."""
MACHINERY = ("asyncio", "penstock.coroutines", "penstock.engine", "penstock.app", "celery.app.trace", "threading")
"""Modules that lie between the loop and a body; what they do is not what holds it up."""


class Watchdog:
    """A thread beside the loop's. Whoever blocks has the loop's thread, not this one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
        self._loop = loop
        self._blocked = thread
        self._turned = time.monotonic()
        self._is_over = threading.Event()
        loop.call_soon_threadsafe(self._beat)
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watches no more."""
        self._is_over.set()

    def _beat(self) -> None:
        self._turned = time.monotonic()
        if not self._is_over.is_set():
            self._loop.call_later(BEAT_SECONDS, self._beat)

    def _watch(self) -> None:
        told: float | None = None
        while not self._is_over.wait(BEAT_SECONDS):
            turned = self._turned
            if told is not None and turned != told:
                logger.warning("the loop turns again, after %.1f s", turned - told)
                told = None
            if told is None and time.monotonic() - turned > BLOCKED_SECONDS + BEAT_SECONDS:
                told = turned
                self._tell()

    def _tell(self) -> None:
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._blocked.ident or 0)
        logger.warning(
            "%s has held up all jobs of this child for more than %.0f s; await what it waits for, or put it into "
            "asyncio.to_thread():\n%s",
            task.get_name() if task is not None else "something between two jobs",
            BLOCKED_SECONDS,
            stack_of(frame),
        )


def stack_of(frame: FrameType | None) -> str:
    """The stack as text, from the body on."""
    summary = traceback.StackSummary.extract(
        (each, line)
        for each, line in reversed(list(traceback.walk_stack(frame)))
        if not str(each.f_globals.get("__name__", "")).startswith(MACHINERY)
    )
    return "".join(summary.format()).rstrip()
