"""Intervals that never drift, and single moments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from penstock.errors import DeclarationError
from penstock.scheduler.timetables.timing import Dst, kind

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SHORTEST = 0.01


@dataclass(frozen=True)
class Every:
    """A fixed interval, counted from 1970-01-01 00:00 UTC: restarts and the number of schedulers do not move it.

    Args:
        seconds: between two planned times, 0.01 or more; days are of 24 hours whatever clocks show.
        phase: seconds by which all of them lie later; ``Every(3600, phase=600)`` is ten past each hour.

    Raises:
        DeclarationError: a number is out of its bounds.
    """

    kind: ClassVar[str] = "interval"
    seconds: float
    phase: float = 0.0

    def __post_init__(self) -> None:
        if not (_is_number(self.seconds) and SHORTEST <= self.seconds <= timedelta.max.total_seconds() / 10):
            raise DeclarationError(f"every {self.seconds!r} seconds: a number, {SHORTEST} or more")
        if not (_is_number(self.phase) and 0 <= self.phase < self.seconds):
            raise DeclarationError(f"phase={self.phase!r}: seconds, from 0 to less than the interval of {self.seconds}")

    def __str__(self) -> str:
        return f"every {self.seconds:g} s" + (f" + {self.phase:g} s" if self.phase else "")

    def words(self) -> dict[str, Any]:
        """Itself as JSON values."""
        return {"kind": self.kind, "seconds": self.seconds} | ({"phase": self.phase} if self.phase else {})

    def after(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> datetime | None:
        """The first planned time after an instant. In whole microseconds, so that it is the same from any instant."""
        step, phase = round(self.seconds * 1_000_000), round(self.phase * 1_000_000)
        passed = (instant - EPOCH) // MICROSECOND - phase
        try:
            return EPOCH + timedelta(microseconds=(passed // step + 1) * step + phase)
        except OverflowError:
            return None


@dataclass(frozen=True)
class At:
    """One moment.

    Args:
        moment: with a time zone; it is kept in UTC.

    Raises:
        DeclarationError: it has no zone, or is no instant in UTC.
    """

    kind: ClassVar[str] = "moment"
    moment: datetime

    def __post_init__(self) -> None:
        if not isinstance(self.moment, datetime) or self.moment.tzinfo is None:
            raise DeclarationError(f"at {self.moment!r}: give it a time zone, e.g. datetime(..., tzinfo=UTC)")
        try:
            # For Python, what clocks show twice is equal to nothing in another zone.
            object.__setattr__(self, "moment", self.moment.astimezone(UTC))
        except OverflowError:
            raise DeclarationError(f"at {self.moment!r}: it is in none of the years 1 to 9999 of UTC") from None

    def __str__(self) -> str:
        return f"at {self.moment.isoformat(sep=' ', timespec='seconds')}"

    def words(self) -> dict[str, Any]:
        """Itself as JSON values."""
        return {"kind": self.kind, "moment": self.moment.isoformat()}

    def after(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> datetime | None:
        """The moment, until it has passed."""
        return self.moment if self.moment > instant else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


kind(Every.kind, lambda words: Every(**words))
kind(At.kind, lambda words: At(datetime.fromisoformat(words["moment"])))
