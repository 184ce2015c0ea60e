"""What processes have used so far: processors and memory, of workers and of PostgreSQL's backends."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil
from sqlalchemy import Engine, text

MEBIBYTE = 1 << 20


def cpu_us(processes: Iterable[psutil.Process]) -> float:
    """User and system, to 10 ms for each; of those that have ended nothing is known."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total * 1e6


def pss(processes: Iterable[psutil.Process]) -> int:
    """Proportional set size in bytes: what is shared by n processes counts as an n-th for each."""
    return sum(_pss(process.pid) for process in processes)


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def backends(engine: Engine | None) -> list[psutil.Process]:
    """PostgreSQL's processes for the connections to this database but our own, where they run on this machine."""
    if engine is None or engine.dialect.name != "postgresql":
        return []
    query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with engine.connect() as connection:
        pids = connection.execute(text(query)).scalars().all()
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if "postgres" in process.name():
                found.append(process)
    return found
