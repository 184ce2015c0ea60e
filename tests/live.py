"""Real worker processes for tests, and waiting for conditions instead of sleeping."""

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
        return [pid for pid in self._started if not _is_keeper(pid)]

    @property
    def keeper(self) -> int:
        """Process id of its keeper; 0 while there is none."""
        return next((pid for pid in self._started if _is_keeper(pid)), 0)

    @property
    def _started(self) -> list[int]:
        listed = list(Path(f"/proc/{self.pid}/task").glob("*/children"))  # A thread may have started them.
        if listed:
            return [int(pid) for children in listed for pid in children.read_text().split()]
        output = subprocess.run(["pgrep", "-P", str(self.pid)], capture_output=True, text=True, check=False).stdout
        return [int(pid) for pid in output.split()]

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace")

    def _is_ready(self) -> bool:
        return " ready." in self.log

    def _has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None


def _is_keeper(pid: int) -> bool:
    command = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "penstock.engine.keeper" in command.stdout
