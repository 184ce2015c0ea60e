"""One supervised process: a session of its own, so that it and all that it starts can be ended."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from penstock.embedded.marked import has_ended
from penstock.embedded.output import LabelledOutput
from penstock.errors import SettingsError

QUIT_SECONDS = 10.0
"""What a process gets after SIGQUIT, on which a worker puts its jobs back, before it is killed."""
KILL_SECONDS = 5.0
CONNECT_SECONDS = 0.1


@dataclass(frozen=True)
class Service:
    """Where a process serves.

    Args:
        host: what it binds to.
        port: and where.
        variable: the setting to change when the port is taken.
        greeting: a line to print as soon as it serves.
    """

    host: str
    port: int
    variable: str
    greeting: str

    def require_free(self) -> None:
        """Raises SettingsError when the address cannot be bound."""
        try:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            socket.create_server((self.host, self.port), family=family).close()
        except OSError as error:
            problem = f"port {self.port} of {self.host} cannot be used ({error.strerror}); free it or set another one"
            raise SettingsError([f"{self.variable}: {problem}"]) from error

    def is_up(self) -> bool:
        """Whether somebody serves there."""
        with suppress(OSError), socket.create_connection((self.host, self.port), CONNECT_SECONDS):
            return True
        return False


@dataclass(frozen=True)
class Process:
    """A command to run.

    Args:
        name: label of its output.
        command: program and arguments.
        patience: seconds that it gets to end after SIGTERM.
        service: what it serves, if it does.
    """

    name: str
    command: Sequence[str]
    patience: float = 5.0
    service: Service | None = None


class RunningProcess:
    """A process that was started, with its output on the way to ``output``.

    Its leader's exit is noted without collecting it until the whole session is gone: so long the kernel gives the
    leader's number, which is the session's too, to nobody else, and whoever is in that session is ours.
    """

    def __init__(self, process: Process, environment: Mapping[str, str], output: LabelledOutput) -> None:
        self.process = process
        self._popen = subprocess.Popen(
            process.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal must reach the supervisor alone: a worker would take it for "at once".
            start_new_session=True,
        )
        self._leader = psutil.Process(self._popen.pid)
        self._reader = threading.Thread(target=output.copy, args=(process.name, self._popen.stdout), daemon=True)
        self._reader.start()
        self._steps = iter([(signal.SIGTERM, process.patience), (signal.SIGQUIT, QUIT_SECONDS)])
        self._next_step_at = math.inf
        self.was_killed = False

    def has_ended(self) -> bool:
        """Whether its leader has ended."""
        return self._popen.returncode is not None or has_ended(self._leader)

    def ask(self) -> None:
        """Asks it to end, at first politely, with each call more firmly. Only its leader, which knows its children."""
        number, patience = next(self._steps, (signal.SIGKILL, math.inf))
        self._next_step_at = time.monotonic() + patience
        self.was_killed = number == signal.SIGKILL
        os.kill(self._popen.pid, number)

    def is_overdue(self) -> bool:
        """Whether it did not end in the time that it was given."""
        return time.monotonic() > self._next_step_at

    def clear_away(self) -> int:
        """Ends whatever its leader left behind, and returns the leader's exit code, negative for a signal."""
        if self._popen.returncode is None:
            deadline = time.monotonic() + KILL_SECONDS
            while self._kill_others() and time.monotonic() < deadline:
                time.sleep(0.01)
            # A process that left the session may hold the pipe open; nobody waits for what it prints.
            self._reader.join(1.0)
        return self._popen.wait()

    def _kill_others(self) -> bool:
        """Kills the session's members but its leader; whether there were any."""
        others = list(self._others())
        for other in others:
            with suppress(psutil.NoSuchProcess):
                other.kill()
        return bool(others)

    def _others(self) -> Iterator[psutil.Process]:
        for pid in psutil.pids():
            with suppress(OSError, psutil.NoSuchProcess):
                if pid != self._popen.pid and os.getsid(pid) == self._popen.pid:
                    process = psutil.Process(pid)
                    if not has_ended(process):
                        yield process
