"""The demo's own books, kept outside of the system: what was accepted, and what took effect.

Lines of JSON in two files. The producer appends an id as soon as its enqueue call has returned; the site appends a
line for each request that it answers.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demo.plan import Effect, Planned
from penstock import State


@dataclass(frozen=True)
class Accepted:
    """A job that the system has accepted, and how it must end."""

    id: str
    label: str
    ends: State
    effect: Effect
    page: str


@dataclass(frozen=True)
class Effected:
    """A request that the site has answered.

    Attributes:
        key: the page, or the webhook's id.
        counts: whether the answer completed the job; a webhook answered with 503 was not taken.
    """

    effect: Effect
    key: str
    counts: bool


class Accounts:
    """The two files of one run."""

    def __init__(self, folder: Path) -> None:
        self._accepted = folder / "accepted.jsonl"
        self._effects = folder / "effects.jsonl"
        self._lock = threading.Lock()

    def accept(self, id: str, planned: Planned) -> None:
        """Notes that the system took a job."""
        self._append(self._accepted, asdict(Accepted(id, planned.label, planned.ends, planned.effect, planned.page)))

    def note(self, effect: Effected) -> None:
        """Notes that a request was answered."""
        self._append(self._effects, asdict(effect))

    def accepted(self) -> list[Accepted]:
        """Every accepted job."""
        return [
            Accepted(**{**line, "ends": State(line["ends"]), "effect": Effect(line["effect"])})
            for line in _lines(self._accepted)
        ]

    def effects(self) -> list[Effected]:
        """Every answered request."""
        return [Effected(**{**line, "effect": Effect(line["effect"])}) for line in _lines(self._effects)]

    def _append(self, file: Path, line: dict[str, object]) -> None:
        with self._lock, file.open("a") as stream:
            stream.write(json.dumps(line) + "\n")


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    if file.exists():
        for line in file.read_text().splitlines():
            yield json.loads(line)
