"""What tasks leave behind outside the system: one line per thing that happened, in a file that is only appended to.

Written by workers of both sides, so this module imports nothing of Celery's and nothing of ours.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = "FAULTS_EFFECTS"
"""Environment variable with the file's name."""
START, END, RETRIED, COMMITTED, HELD = "start", "end", "retried", "committed", "held"
"""A body begins; it ends well; it asks for another attempt; its result is stored; its process waits to be killed."""
TICK = "tick"
"""A body of a schedule's job has begun: which schedule's."""
WORKER, CHILD, BEAT = "worker", "child", "beat"
"""A worker is ready, or a child of its pool, or a beat: how it is made."""


def note(kind: str, **facts: Any) -> None:
    """Appends one line. A single write to a file opened with O_APPEND is never mixed with another process's."""
    facts |= {"kind": kind, "pid": os.getpid(), "at": time.clock_gettime(time.CLOCK_MONOTONIC), "wall": time.time()}
    descriptor = os.open(os.environ[FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, json.dumps(facts).encode() + b"\n")
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Effect:
    """One line. ``at`` is seconds of the machine's monotonic clock, the same in every process."""

    kind: str
    pid: int
    at: float
    job: str = ""
    attempt: str = ""
    facts: dict[str, Any] = field(default_factory=dict, compare=False)


class Effects:
    """Reads the file as it grows; several threads may ask."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self.path = path
        self._offset = 0
        self._seen: list[Effect] = []
        self._pids: set[int] = set()
        self._lock = threading.Lock()

    def all(self) -> list[Effect]:
        """Every line so far, in the order of writing."""
        with self._lock:
            self._read()
            return list(self._seen)

    def of(self, kind: str, job: str | None = None) -> list[Effect]:
        """Those of one kind, of one job if given."""
        return [effect for effect in self.all() if effect.kind == kind and job in (None, effect.job)]

    def pids(self) -> set[int]:
        """The processes that wrote."""
        with self._lock:
            self._read()
            return set(self._pids)

    def _read(self) -> None:
        with self.path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        effects = [_effect(json.loads(line)) for line in whole.splitlines()]
        self._seen += effects
        self._pids |= {effect.pid for effect in effects}


def _effect(facts: dict[str, Any]) -> Effect:
    known = {name: facts.pop(name) for name in ("kind", "pid", "at", "job", "attempt") if name in facts}
    return Effect(**known, facts=facts)
