"""What is said of a job that waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reason:
    """One thing that holds a job back, or the news that nothing does."""

    name: str
    """For machines: one word, or several with dashes."""
    sentence: str
    """Begins in lower case and has no full stop."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """By name, for people: times are datetimes, counts numbers, the rest words."""
    is_whole: bool = False
    """Whether nothing else is worth telling beside it."""


@dataclass(frozen=True)
class Why:
    """Why a job does not run."""

    id: str
    reasons: tuple[Reason, ...]

    @property
    def sentence(self) -> str:
        """All of them in one sentence, which begins in lower case and has no full stop."""
        return "; ".join(reason.sentence for reason in self.reasons)

    @property
    def spoken(self) -> str:
        """The same with a capital letter and a full stop; a name that it begins with, of a worker or so, stays."""
        first = self.sentence.partition(" ")[0]
        return f"{self.sentence[:1].upper() if first.isalpha() else self.sentence[:1]}{self.sentence[1:]}."

    @property
    def facts(self) -> dict[str, Any]:
        """What is behind them, by name."""
        return {name: value for reason in self.reasons for name, value in reason.facts.items()}

    @property
    def names(self) -> Sequence[str]:
        """The reasons for machines."""
        return [reason.name for reason in self.reasons]

    def __str__(self) -> str:
        return self.sentence
