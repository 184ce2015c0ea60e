"""Real worker processes for tests, and waiting for conditions instead of sleeping."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).parent.parent


def wait_for(condition: Callable[[], T], what: str, timeout: float = 20.0) -> T:
    """The first truthy value of ``condition``; fails, naming ``what``, when there is none in time."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.02)
    return value


class Worker:
    """`celery -A APP worker` as a process of its own, ready when entered and gone when left."""

    def __init__(
        self,
        environment: dict[str, str],
        log: Path,
        *options: str,
        app: str = "tests.worker_app",
        children: int | None = 2,
        folder: Path = ROOT,
    ) -> None:
        """Without ``children`` their number is the worker's own business, as with ``--profile``."""
        self._folder = folder
        self._environment = environment
        self._command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            app,
            "worker",
            "-l",
            "INFO",
            *(() if children is None else ("-c", str(children))),
            *options,
        ]
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None

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
        """Starts the process and does not wait, so that several workers can start together."""
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                self._command, env=self._environment, cwd=self._folder, stdout=output, stderr=subprocess.STDOUT
            )

    def await_ready(self) -> None:
        """Waits until it consumes."""
        wait_for(lambda: self._is_ready() or self._has_ended(), "the worker is ready", 30)
        assert self._is_ready(), self.log

    def stop(self, kind: signal.Signals = signal.SIGTERM, patience: float = 20) -> int:
        """Ends the worker and returns its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(kind)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    @property
    def pid(self) -> int:
        """Process id of the parent."""
        assert self.process is not None
        return self.process.pid

    @property
    def children(self) -> list[int]:
        """Process ids of the pool."""
        zygote = self.zygote
        if zygote:
            return [pid for pid in _started_by(zygote) if _name(pid) == "penstock-child"]
        return [pid for pid in _started_by(self.pid) if not _is_keeper(pid)]

    @property
    def zygote(self) -> int:
        """Process id of what forks our pool's children; 0 with another pool."""
        return next((pid for pid in _started_by(self.pid) if _name(pid) == "penstock-zygote"), 0)

    @property
    def keeper(self) -> int:
        """Process id of its keeper, once there is one."""
        return wait_for(self._keeper, "there is a keeper")

    def _keeper(self) -> int:
        started = _started_by(self.pid)
        for pid in tuple(started):
            if _name(pid) == "penstock-zygote":
                started += _started_by(pid)
        return next((pid for pid in started if _is_keeper(pid)), 0)

    @property
    def has_keeper(self) -> bool:
        """Whether there is a keeper at this moment."""
        return bool(self._keeper())

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace")

    def _is_ready(self) -> bool:
        return " ready." in self.log

    def _has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None


def _started_by(parent: int) -> list[int]:
    """Process ids of a process's children that have not ended."""
    listed = list(Path(f"/proc/{parent}/task").glob("*/children"))  # A thread may have started them.
    found: list[int] = []
    for children in listed:
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in children.read_text().split()]
    return [pid for pid in found if _lives(pid)]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _is_keeper(pid: int) -> bool:
    if _name(pid) == "penstock-keeper":
        return True
    try:
        return b"penstock.engine.keeper" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
