"""`python -m penstock.embedded` as a real process that owns a var folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

import psutil

from tests.live import ROOT, wait_for

COMMAND = [sys.executable, "-m", "penstock.embedded"]


class Owner:
    """The process, and what it printed. Whatever it leaves running is killed at the end of the ``with`` block."""

    def __init__(self, environment: dict[str, str], log: Path, *arguments: str) -> None:
        self._var = environment["PENSTOCK_VAR"]
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*COMMAND, *arguments],
                env=environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # What a shell starts in the background ignores Ctrl-C, and so would this.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for process in processes_of(self._var):
            process.kill()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self._log.read_text(errors="replace")

    def wait_until_printed(self, text: str) -> None:
        """Waits until it has printed ``text``."""
        wait_for(lambda: text in self.output or self._process.poll() is not None, f"{text!r} is printed", 30)
        assert text in self.output, self.output

    def press_ctrl_c(self) -> None:
        """What a terminal does: it signals the whole process group."""
        os.killpg(self._process.pid, signal.SIGINT)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to this process alone."""
        self._process.send_signal(number)

    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def wait_for_end(self, timeout: float = 30) -> int:
        """Waits for its end and returns its exit code."""
        return self._process.wait(timeout)


def processes_of(var: str | Path) -> list[psutil.Process]:
    """The living processes whose environment names this var folder, but for the one that asks."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PENSTOCK_VAR") == str(var) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def commands_of(var: str | Path) -> list[str]:
    """What runs there, for messages."""
    return [" ".join(process.cmdline()) for process in processes_of(var)]


def variables(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a deployment that names no servers."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {"PENSTOCK_VAR": str(folder / "var"), "PYTHONPATH": str(ROOT)} | more
