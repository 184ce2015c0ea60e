"""How much memory processes have, watched from outside while a fault lasts."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Self

import psutil

LOOK_EVERY = 0.1
MOST_GROWTH = 64 * 2**20
"""Bytes by which a process may grow while it keeps what it cannot store yet."""


class Memory:
    """The resident memory of some processes, by what they are called."""

    def __init__(self, pids: dict[str, int], most: int) -> None:
        self._may_grow = most
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._first = {name: process.memory_info().rss for name, process in self._processes.items()}
        self._most = dict(self._first)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(5)

    @property
    def overgrown(self) -> dict[str, int]:
        """Those that have grown by more than they may, and by how many bytes."""
        return {name: bytes for name, bytes in self._grown.items() if bytes > self._may_grow}

    @property
    def _grown(self) -> dict[str, int]:
        return {name: most - self._first[name] for name, most in self._most.items()}

    @property
    def remark(self) -> str:
        """How much each has grown at most since it is watched, for people."""
        each = (f"{name.split(maxsplit=1)[1]} +{bytes / 2**20:.0f} MB" for name, bytes in self._grown.items())
        return ", ".join(each)

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            for name, process in self._processes.items():
                with suppress(psutil.NoSuchProcess):
                    self._most[name] = max(self._most[name], process.memory_info().rss)
