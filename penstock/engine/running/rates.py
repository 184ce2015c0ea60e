"""Rate limits of a worker's tasks, shared by its children: when the next job of each may start.

The generic cell rate algorithm (ITU-T I.371) with a burst of one: a job may start when the time that the last one has
reserved is over, and reserves the time until the next. A job that has to wait reserves nothing: it comes again when its
time has come, and those that had to wait before it are further in front.
"""

from __future__ import annotations

import fcntl
import mmap
import struct
import tempfile
import time
from collections.abc import Iterable

_PAIR = struct.Struct("<dd")


class Rates:
    """Made before the first fork."""

    def __init__(self, tasks: Iterable[str]) -> None:
        self._places = {name: place for place, name in enumerate(sorted(tasks))}
        self._memory = mmap.mmap(-1, max(len(self._places), 1) * _PAIR.size)
        self._lock = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the worker

    def take(self, task: str, per_second: float) -> float:
        """Seconds until a job of the task may start; 0: now, and it counts.

        Args:
            per_second: jobs per second.
        """
        place = self._places.get(task)
        if place is None:
            return 0.0  # Registered after the start; nobody has set a limit for it then.
        interval = 1 / per_second
        fcntl.lockf(self._lock, fcntl.LOCK_EX, 1, place)
        try:
            free_at, line_ends = _PAIR.unpack_from(self._memory, place * _PAIR.size)
            now = time.monotonic()
            if now >= free_at:
                free_at, pause = now + interval, 0.0
            else:
                # One more in the line of those who wait: each is told the time at which its turn comes.
                line_ends = max(line_ends, free_at - interval) + interval
                pause = line_ends - now
            _PAIR.pack_into(self._memory, place * _PAIR.size, free_at, line_ends)
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN, 1, place)
        return pause
