"""What jobs leave behind outside of both systems: one line when a body starts and one when it ends.

Written by the workers of both sides, so this module imports nothing of Celery's and nothing of ours.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "DUEL_EFFECTS"
"""Environment variable with the file's name."""
START, END, WORKER = "start", "end", "worker"
"""A body begins; it came to its end; a worker is ready, and how it is made."""
_opened: dict[int, int] = {}
"""This process's id and its descriptor; a forked child opens one of its own."""


@dataclass(frozen=True)
class Effect:
    """One line. ``at`` is seconds of the machine's monotonic clock, which all processes share."""

    kind: str
    pid: int
    at: float
    job: str = ""
    attempt: str = ""
    seconds: float = 0.0
    """How long the body takes."""
    portrait: str = ""
    """How a worker is made."""


def note(kind: str, **facts: Any) -> None:
    """Appends one line. A single write to a file opened with O_APPEND is never mixed with another process's."""
    pid = os.getpid()
    if pid not in _opened:
        _opened.clear()
        _opened[pid] = os.open(os.environ[FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    line = json.dumps({"kind": kind, "pid": pid, "at": time.clock_gettime(time.CLOCK_MONOTONIC), **facts})
    os.write(_opened[pid], line.encode() + b"\n")


class Lines:
    """Reads a file of JSON lines as it grows."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._path = path
        self._offset = 0

    def new(self) -> list[dict[str, Any]]:
        """The whole lines that were added since the last call."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]
