"""The demo's own books, kept outside of the system: what was accepted, and what took effect.

Lines of JSON in two files. The producer appends an id as soon as its enqueue call has returned; the site appends a
line for each request that it answers, and the command `note` one for each time that it runs.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demo.plan import NOTE, Effect, Planned
from penstock import State

NOTE_SCRIPT = r"""#!/bin/sh
# Usage: note FILE NUMBER; appends the line in one write, so that lines of several jobs do not mix.
printf '{"effect": "command", "key": "%s", "counts": true}\n' "$2" >> "$1"
"""


@dataclass(frozen=True)
class Accepted:
    """A job that the system has accepted, and how it must end."""

    id: str
    label: str
    ends: State
    effect: Effect
    key: str
    error: str


@dataclass(frozen=True)
class Effected:
    """A request that the site has answered, or a run of the command.

    Attributes:
        key: the page, the webhook's id, or the command's number.
        counts: whether the answer completed the job; a webhook answered with 503 was not taken.
    """

    effect: Effect
    key: str
    counts: bool


class Accounts:
    """The files of one run.

    Attributes:
        effects_file: where the effects are noted.
        reports: the folder that the reports are written to.
    """

    def __init__(self, folder: Path) -> None:
        self.effects_file = folder / "effects.jsonl"
        self.reports = folder / "reports"
        self._accepted = folder / "accepted.jsonl"
        self._lock = threading.Lock()

    def accept(self, id: str, planned: Planned) -> None:
        """Notes that the system took a job."""
        key = planned.key or id
        accepted = Accepted(id, planned.label, planned.ends, planned.effect, key, planned.error)
        self._append(self._accepted, asdict(accepted))

    def note(self, effect: Effected) -> None:
        """Notes that a request was answered."""
        self._append(self.effects_file, asdict(effect))

    def accepted(self) -> list[Accepted]:
        """Every accepted job."""
        return [
            Accepted(**{**line, "ends": State(line["ends"]), "effect": Effect(line["effect"])})
            for line in _lines(self._accepted)
        ]

    def effects(self) -> list[Effected]:
        """Every answered request and every run of the command."""
        return [Effected(**{**line, "effect": Effect(line["effect"])}) for line in _lines(self.effects_file)]

    def _append(self, file: Path, line: dict[str, object]) -> None:
        with self._lock, file.open("a") as stream:
            stream.write(json.dumps(line) + "\n")


def write_note_command(folder: Path) -> Path:
    """Writes the command that notes its runs, and returns it."""
    command = folder / NOTE
    command.write_text(NOTE_SCRIPT)
    command.chmod(0o755)
    return command


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    if file.exists():
        for line in file.read_text().splitlines():
            yield json.loads(line)
