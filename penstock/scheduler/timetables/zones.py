"""Time zones: what a wall clock shows at an instant, and when it shows a given time.

Zones come from the package ``tzdata`` and not from the host's files, so that all schedulers of a deployment know the
same rules. Instants are datetimes in UTC; what a clock on the wall shows is a datetime without a zone.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from penstock.errors import DeclarationError

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """The zone of this name, such as ``Europe/Berlin``.

    Raises:
        DeclarationError: there is none; it suggests one that is spelt alike.
    """
    if name in _names():
        package, _, file = f"tzdata.zoneinfo.{name.replace('/', '.')}".rpartition(".")
        with (resources.files(package) / file).open("rb") as data:
            return ZoneInfo.from_file(data, key=name)
    close = difflib.get_close_matches(name, _names(), n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}?" if close else "write it as Europe/Berlin, or UTC"
    raise DeclarationError(f"there is no time zone {name!r}; {hint}")


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset((resources.files("tzdata") / "zones").read_text().split())


def wall(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the clocks of the zone show at an instant."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def instants_of(shown: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
    """When the clocks show this: once; twice where they are put back; never where they are put forward."""
    found = dict.fromkeys(shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return tuple(sorted(instant for instant in found if wall(instant, zone) == shown))


def first_instant(shown: datetime, zone: ZoneInfo) -> datetime:
    """When the clocks first show this, or jump over it."""
    found = instants_of(shown, zone)
    # PEP 495: within a gap, fold=1 reads the wall by the offset after it and so lands before the jump, fold=0 after it.
    before, after = (shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    return found[0] if found else _change(before, after, zone)


@dataclass(frozen=True)
class Shift:
    """The clocks of a zone are put forward or back."""

    at: datetime
    """The instant."""
    before: datetime
    """What they would have shown then."""
    after: datetime
    """What they show instead."""

    @property
    def is_forward(self) -> bool:
        """Whether times are left out; otherwise they come twice."""
        return self.after > self.before


def shifts(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[Shift]:
    """The changes of a zone's offset after ``start``, up to ``end``. Two within a day would cancel each other out."""
    while start < end:
        following = min(start + DAY, end)
        if start.astimezone(zone).utcoffset() != following.astimezone(zone).utcoffset():
            at = _change(start, following, zone)
            old = (at - MINUTE).astimezone(zone).utcoffset() or timedelta(0)
            yield Shift(at, at.replace(tzinfo=None) + old, wall(at, zone))
        start = following


def _change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The first whole minute with the offset of ``after``, by halving; there is one change between the two."""
    old = before.astimezone(zone).utcoffset()
    low, high = 0, -(-(after - before) // MINUTE)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if (before + middle * MINUTE).astimezone(zone).utcoffset() == old else (low, middle)
    at = before + high * MINUTE
    return at.replace(second=0, microsecond=0)
