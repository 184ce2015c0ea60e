"""Processes of a run: every one carries the run's id in its environment, so it is known for ours without doubt."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import psutil

from penstock.errors import EmbeddedServerError

MARK = "_PENSTOCK_RUN"
"""Environment variable with the run's id. The underscore keeps it apart from settings, which are checked by name."""
PATIENCE = 3.0
SERVER_PATIENCE = 10.0
KILL_PATIENCE = 5.0


def server_mark(run: str) -> str:
    """The mark of a run's server, which must end after everything that uses it."""
    return f"{run}/server"


def end_run(run: str) -> None:
    """Ends every process of the run that still lives, its server last.

    Raises:
        EmbeddedServerError: one cannot be killed.
    """
    end_clients(run)
    _end(_carrying(server_mark(run)), SERVER_PATIENCE)


def end_clients(run: str) -> None:
    """Ends every process of the run but its server; the caller and those above it are spared.

    Raises:
        EmbeddedServerError: one cannot be killed.
    """
    patience = PATIENCE
    # Again until none is found: a process may have started another one after the first look.
    while found := _carrying(run):
        _end(found, patience)
        patience = 0


def has_ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or is only waiting for its parent to take note."""
    try:
        return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _carrying(mark: str) -> list[psutil.Process]:
    caller = psutil.Process()
    spared = {caller, *caller.parents()}
    return [process for process in psutil.process_iter() if process not in spared and _mark_of(process) == mark]


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None  # gone meanwhile, or another user's, so not ours


def _end(processes: Sequence[psutil.Process], patience: float) -> None:
    # Only those at the top are asked: a child of a worker would drop its job, while its parent lets it finish.
    for process in _topmost(processes):
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    living = _living_after(processes, patience)
    for process in living:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    living = _living_after(living, KILL_PATIENCE)
    if living:
        pids = ", ".join(str(process.pid) for process in living)
        raise EmbeddedServerError(f"processes of an earlier run cannot be killed ({pids}); end them and start again")


def _living_after(processes: Sequence[psutil.Process], patience: float) -> list[psutil.Process]:
    deadline = time.monotonic() + patience
    while (living := [process for process in processes if not has_ended(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return living


def _topmost(processes: Sequence[psutil.Process]) -> Iterator[psutil.Process]:
    pids = {process.pid for process in processes}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.ppid() not in pids:
                yield process
