"""What every step of replaying and discarding needs, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from penstock.app import PenstockApp
from penstock.broker.scripts import Scripts
from penstock.operations.failures.pace import Pace
from penstock.operations.jobs.edits import Edits

Advance = Callable[[int], None]
"""Called with the number of messages that were dealt with."""


class Done(NamedTuple):
    """What became of one entry."""

    entry: str
    done: bool
    text: str
    """In words, for people."""
    job: str | None = None
    """The new job."""
    messages: int = 1


@dataclass(frozen=True)
class Bench:
    """What every step needs."""

    app: PenstockApp
    scripts: Scripts
    database_url: str
    pace: Pace
    actor: str
    advance: Advance
    edits: Edits
    """Of the arguments of what is replayed."""
