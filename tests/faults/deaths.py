"""When processes died, and the means to kill them: every process of a run is known here by its id."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

LOOK_EVERY = 0.02
CAMPAIGN = "FAULTS_CAMPAIGN"
"""Environment variable that marks every process of one call of the harness."""


class Deaths:
    """Kills processes, and notices the deaths of all that were named, whoever caused them."""

    def __init__(self, known: Callable[[], Iterable[int]]) -> None:
        self._known = known
        self._died: dict[int, float] = {}
        self.killed: set[int] = set()
        """Those that died by our hand, or with a parent that did."""
        self._watched: set[int] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(5)

    def kill(self, pids: Iterable[int], dragged_along: Iterable[int] = ()) -> float:
        """kill -9 of all of them at once: none sees another one's death. Returns the time right before."""
        chosen = list(pids)
        self.killed |= {*chosen, *dragged_along}
        for pid in chosen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        struck = time.monotonic()
        with self._lock:
            # The killer's own note is the exact one; the watching thread keeps it.
            self._died |= {pid: struck for pid in chosen if pid not in self._died}
        for pid in chosen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return struck

    def watch(self, pids: Iterable[int]) -> None:
        """From now on notices their deaths."""
        with self._lock:
            self._watched |= set(pids)

    def noticed(self) -> dict[int, float]:
        """Process id → when it was gone, in seconds of the monotonic clock."""
        with self._lock:
            return dict(self._died)

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            self.watch(self._known())
            with self._lock:
                living = self._watched - self._died.keys()
            gone = [pid for pid in living if not is_alive(pid)]
            now = time.monotonic()
            with self._lock:
                for pid in gone:
                    self._died.setdefault(pid, now)


def is_alive(pid: int) -> bool:
    """Whether it runs; a process that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def marked(mark: str) -> list[int]:
    """Every process that was started with ``mark`` in its environment, by whichever process."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]
