"""Real beats for tests: `celery -A APP beat` as processes of their own, and what they leave in the books."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

from penstock.errors import PenstockError
from penstock.ledger import schedules
from penstock.ledger.session import reading
from tests.live import ROOT
from tests.live import wait_for as wait_eagerly

PATIENCE = 60.0
"""Seconds, for what takes a few on a machine that is not busy with other tests."""
EASE = 0.08
T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str, timeout: float = PATIENCE) -> T:
    """As everywhere, but ten times a second: who asks more often keeps those busy for whom it waits."""

    def asked() -> T:
        value = condition()
        if not value:
            time.sleep(EASE)
        return value

    return wait_eagerly(asked, what, timeout)


class Beat:
    """One process, ready when entered and gone when left."""

    def __init__(
        self, environment: Mapping[str, str], log: Path, *options: str, app: str = "tests.scheduler.live.app"
    ) -> None:
        self._environment = dict(environment)
        self._command = [sys.executable, "-m", "celery", "-A", app, "beat", "-l", "INFO", *options]
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None
        self._is_told = False

    def __enter__(self) -> Self:
        self.begin()
        try:
            self.await_ready()
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def begin(self) -> None:
        """Starts the process and does not wait, so that several can start together."""
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command, env=self._environment, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
            )

    def await_ready(self) -> None:
        """Waits until it has said in the ledger that it is at work."""
        wait_for(lambda: self.is_noted or self.has_ended, "the beat is at work")
        assert self.is_noted, self.log

    def tell_to_end(self, kind: signal.Signals = signal.SIGTERM) -> None:
        """Sends it one signal, which reaches it also if it stands still just now."""
        if self.process is not None and self.process.poll() is None and not self._is_told:
            self._is_told = True
            self.process.send_signal(kind)
            self.resume()

    def stop(self, kind: signal.Signals = signal.SIGTERM, patience: float = 30.0) -> int:
        """Ends it, unless it has been told to end already, and returns its exit code."""
        self.tell_to_end(kind)
        assert self.process is not None
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return self.process.returncode

    def pause(self) -> None:
        """SIGSTOP, and it stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        self.await_pause()

    def await_pause(self) -> None:
        """Waits until it stands still, by whose signal ever."""
        wait_for(lambda: self.is_paused or self.has_ended, "the beat stands still")
        assert self.is_paused, self.log

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def name(self) -> str:
        """How the ledger calls it."""
        return f"beat-{self.pid}@{socket.gethostname()}"

    @property
    def is_noted(self) -> bool:
        """Whether it is in the ledger's list of schedulers."""
        return self.name in noted_beats(self._environment["DATABASE_URL"])

    @property
    def is_paused(self) -> bool:
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    @property
    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace")


@contextmanager
def together(*beats: Beat) -> Iterator[None]:
    """All of these, started at the same time, ready inside of the block and gone after it."""
    try:
        for beat in beats:
            beat.begin()
        for beat in beats:
            beat.await_ready()
        yield
    finally:
        for beat in beats:
            beat.tell_to_end()
        for beat in beats:
            if beat.process is not None:
                beat.stop()


def noted_beats(url: str) -> list[str]:
    """Names of the schedulers in the ledger; none while it does not answer."""
    try:
        with reading(url) as connection:
            return [beat.name for beat in schedules.list_beats(connection)]
    except PenstockError:
        return []
