"""Several processes in the foreground, as one. Why not another's program: docs/decisions/supervisor.md."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self, TextIO

from penstock.embedded import signals
from penstock.embedded.output import LabelledOutput
from penstock.embedded.process import Process, RunningProcess

LABEL = "penstock"
TICK = 0.05


class Supervisor:
    """Runs processes until one ends or somebody asks, then ends them all; nothing of them is left.

    ``run()`` does it all; ``start()``, ``trouble()`` and ``stop()``, or a ``with`` block, are its parts.

    Args:
        processes: what to run.
        environment: for each of them.
        output: where their lines go; closed by the caller.
        trouble: says why the whole cannot go on although each process lives; None while it can.
    """

    def __init__(
        self,
        processes: Sequence[Process],
        environment: Mapping[str, str],
        *,
        output: TextIO = sys.stdout,
        trouble: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._processes = processes
        # Celery's banner goes through a buffered standard output, and would be seen when the worker ends. With the
        # remap, SIGTERM would put running jobs back instead of letting them finish.
        self._environment = {**environment, "PYTHONUNBUFFERED": "1", "REMAP_SIGTERM": ""}
        self._output = LabelledOutput(output, [LABEL, *(process.name for process in processes)])
        self._trouble = trouble
        self._running: list[RunningProcess] = []
        self._awaited = [process.service for process in processes if process.service]
        self._requests = 0

    def run(self) -> int:
        """Runs them until Ctrl-C, SIGTERM or the end of one of them.

        Returns:
            the exit code: 0 when it was asked to stop and nothing had to be killed.
        """
        with signals.handled(self._note_request), self:
            trouble = self._wait()
            if trouble:
                self._say(f"{trouble}; stopping the others")
            in_time = self.stop()
        return 0 if in_time and not trouble else 1

    def start(self) -> None:
        """Starts them all, or none.

        Raises:
            SettingsError: the port of a service is taken.
            OSError: a command cannot be run.
        """
        for service in self._awaited:
            service.require_free()
        try:
            for process in self._processes:
                self._running.append(RunningProcess(process, self._environment, self._output))
        except OSError:
            self.stop()
            raise

    def trouble(self) -> str | None:
        """Why the whole cannot go on, for instance which process has ended and how; None while it can."""
        for running in self._running:
            if running.has_ended():
                return f"{running.process.name} {_described(running.clear_away())}"
        return self._trouble()

    def stop(self) -> bool:
        """Ends them all. They get SIGTERM, on which workers finish their jobs; when their patience is over, or at
        each further Ctrl-C, SIGQUIT, on which workers put their jobs back, and SIGKILL.

        Returns:
            whether nothing had to be killed.
        """
        with signals.handled(self._note_request):
            answered = self._requests
            self._ask_all()
            while living := self._living():
                hurried, answered = self._requests > answered, self._requests
                for running in living:
                    if hurried or running.is_overdue():
                        running.ask()
                time.sleep(TICK)
            for running in self._running:
                running.clear_away()
        killed = [running.process.name for running in self._running if running.was_killed]
        if killed:
            self._say(f"had to be killed: {', '.join(killed)}")
        self._running.clear()
        return not killed

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self) -> str | None:
        """Waits for a request to stop or for trouble, which it returns."""
        while not self._requests and not self._output.broken:
            if trouble := self.trouble():
                return trouble
            self._greet()
            time.sleep(TICK)
        return None

    def _greet(self) -> None:
        for service in list(self._awaited):
            if service.is_up():
                self._say(service.greeting)
                self._awaited.remove(service)

    def _ask_all(self) -> None:
        living = self._living()
        if living:
            patience = max(running.process.patience for running in living)
            self._say(f"stopping: running jobs get {patience:g} s to finish; Ctrl-C puts them back into their queues")
        for running in living:
            running.ask()

    def _living(self) -> list[RunningProcess]:
        return [running for running in self._running if not running.has_ended()]

    def _say(self, text: str) -> None:
        self._output.write(LABEL, text)

    def _note_request(self, *_: object) -> None:
        self._requests += 1


def _described(code: int) -> str:
    return f"ended with exit code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
