"""What the system knows of a worker's processes, and what it is asked to do with them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

PR_SET_NAME, PR_SET_PDEATHSIG = 15, 1


def tie_to_parent() -> None:
    """Has the kernel end this process when its parent dies. Elsewhere than on Linux nobody does."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It died before the kernel knew what to do about that.
        os.kill(os.getpid(), signal.SIGKILL)


def name_process(name: str) -> None:
    """What `ps -o comm` and `top` show; at most 15 characters."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def ending(status: int) -> str:
    """How a process ended, in words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(ValueError):
            return f"by {signal.Signals(number).name}"
        return f"by signal {number}"
    return f"with code {os.WEXITSTATUS(status)}"


def is_stopped(pid: int) -> bool:
    """Whether a process stands still by SIGSTOP or its like."""
    return state_of(pid) == "T"


def lives(pid: int) -> bool:
    """Whether a process still does something. One that has ended may wait for somebody to see it off."""
    if state := state_of(pid):
        return state != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path("/proc/self").exists()


def resident_kib(pid: int) -> int:
    """KiB of memory that a process has; of others 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except (OSError, IndexError):
        return _most_resident_kib() if pid == os.getpid() else 0


@dataclass(frozen=True)
class Footprint:
    """What a process takes of the machine at one moment.

    Attributes:
        state: the letter of Linux' process states: ``R`` runs, ``S`` and ``D`` wait, ``T`` is stopped, ``Z`` has ended;
            empty where the system does not tell.
        resident_kib: memory that it has, shared pages included.
        proportional_kib: the same with each shared page divided among those who share it; None: nobody tells.
        cpu_seconds: processor time that it has taken since its start; None: nobody tells.
    """

    state: str
    resident_kib: int
    proportional_kib: int | None
    cpu_seconds: float | None


def footprint(pid: int) -> Footprint:
    """What a process takes. Of one that has ended meanwhile, nothing."""
    fields = _fields(pid)
    # utime and stime; the first field here is the third of the file.
    ticks = int(fields[11]) + int(fields[12]) if fields else None
    return Footprint(
        fields[0] if fields else "",
        resident_kib(pid),
        _proportional_kib(pid),
        ticks / os.sysconf("SC_CLK_TCK") if ticks is not None else None,
    )


def _proportional_kib(pid: int) -> int | None:
    with contextlib.suppress(OSError, IndexError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return None


def _most_resident_kib() -> int:
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage // 1024 if sys.platform == "darwin" else usage


def state_of(pid: int) -> str:
    """The letter of Linux' process states; empty where there is no such process, or no Linux."""
    fields = _fields(pid)
    return fields[0] if fields else ""


def _fields(pid: int) -> list[str]:
    """What the kernel tells of a process after its name; empty where there is no such process, or no Linux."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
