"""The processes of a worker, found by walking down from its parent, and the times at which processes died."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

LOOK_EVERY = 0.05
NOT_OF_THE_POOL = ("penstock-keeper", "penstock-zygote")
"""Names of processes that run no jobs."""
KEEPER = "penstock.engine.keeper"
"""The keeper's module, on the command line of one that is a program of its own."""


class Worker:
    """`celery worker` with everything that descends from it."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], folder: Path, log: Path) -> None:
        self.name = name
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id of Celery's main process."""
        return self._popen.pid

    @property
    def has_ended(self) -> bool:
        """Whether the main process is gone."""
        return self._popen.poll() is not None

    def everyone(self) -> list[int]:
        """The main process and all that descend from it."""
        return [self.pid, *(process.pid for process in _descendants(self.pid))]

    def children(self) -> list[int]:
        """The processes that run jobs."""
        return [process.pid for process in _descendants(self.pid) if _runs_jobs(process)]

    def freeze(self) -> list[int]:
        """SIGSTOP of everyone; who that was."""
        return _signal(self.everyone(), signal.SIGSTOP)

    def kill(self, frozen: Iterable[int] = ()) -> list[int]:
        """SIGKILL of everyone, as when the host is gone: none sees another one's death. Who that was."""
        everyone = list({*self.freeze(), *frozen})
        _signal(everyone, signal.SIGKILL)
        self._popen.wait()
        return everyone


class Deaths:
    """Notes when processes die, whoever caused it."""

    def __init__(self) -> None:
        self._watched: set[int] = set()
        self._died: dict[int, float] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(5)

    def watch(self, pids: Iterable[int]) -> None:
        """From now on notices their deaths."""
        with self._lock:
            self._watched |= set(pids)

    def note(self, pids: Iterable[int], at: float) -> None:
        """Whoever kills knows the time best."""
        with self._lock:
            self._died |= {pid: at for pid in pids if pid not in self._died}

    def all(self) -> dict[int, float]:
        """Process id → when it was gone."""
        with self._lock:
            return dict(self._died)

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            with self._lock:
                living = self._watched - self._died.keys()
            gone = [pid for pid in living if not _is_alive(pid)]
            self.note(gone, time.monotonic())


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _runs_jobs(process: psutil.Process) -> bool:
    try:
        return process.name() not in NOT_OF_THE_POOL and KEEPER not in process.cmdline()
    except psutil.Error:
        return False


def _is_alive(pid: int) -> bool:
    """Whether it runs; a process that nobody has waited for yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(pids: Iterable[int], kind: signal.Signals) -> list[int]:
    reached = []
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, kind)
            reached.append(pid)
    return reached
