"""Cron expressions. Which minutes match is cronsim's business; what that means where clocks are shifted is ours."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo

from penstock.errors import DeclarationError
from penstock.scheduler.timetables import zones
from penstock.scheduler.timetables.timing import Dst, kind

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
ALL_HOURS = frozenset(range(24))
AROUND = timedelta(hours=25)
"""No zone has ever shifted its clocks by more at once."""


@dataclass(frozen=True)
class Cron:
    """Five fields: minute, hour, day of month, month, day of week; or a nickname such as ``@daily``.

    Beside ``*``, ``,``, ``-`` and ``/`` there are ``L`` (last day), ``LW`` (last working day), ``5#2`` (second Friday),
    ``5L`` (last Friday) and names (``MON``, ``JAN``).

    Args:
        expression: in the schedule's time zone.
        days: when both a day of month and a day of week are given: ``either`` may match, as in cron, or ``both`` must.

    Raises:
        DeclarationError: the expression cannot be read, or never comes.
    """

    kind: ClassVar[str] = "cron"
    expression: str
    days: Literal["either", "both"] = "either"

    def __post_init__(self) -> None:
        if not isinstance(self.expression, str):
            raise DeclarationError(f"cron {self.expression!r}: five fields, e.g. '30 2 * * *'")
        if self.days not in ("either", "both"):
            raise DeclarationError(f"cron {self.expression!r}: days={self.days!r}: either or both")
        _matcher(self.expression, self.days)

    def __str__(self) -> str:
        return self.expression + (" (both days)" if self.days == "both" else "")

    def words(self) -> dict[str, Any]:
        """Itself as JSON values."""
        return {"kind": self.kind, "expression": self.expression} | ({"days": "both"} if self.days == "both" else {})

    @property
    def has_all_hours(self) -> bool:
        """Whether no hour of a day is left out."""
        return bool(_matcher(self.expression, self.days).hours >= ALL_HOURS)

    @property
    def is_open(self) -> bool:
        """Whether it names no hour, so that the time that passes counts and not what clocks show."""
        return self.has_all_hours or bool(_matcher(self.expression, self.days).parts[2].startswith("*"))

    def after(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> datetime | None:
        """The first planned time after an instant."""
        is_literal = self.is_open or dst == "literal"
        try:
            return self._literally_after(instant, zone) if is_literal else self._once_after(instant, zone)
        except OverflowError:
            return None  # The calendar ends with the year 9999.

    def _once_after(self, instant: datetime, zone: ZoneInfo) -> datetime | None:
        """The first instant at which clocks show a time that matches for the first time, or jump over it."""
        for shown in self._matches_after(zones.wall(instant, zone)):
            # Clocks that were put back show it again; the first time is over then.
            if (found := zones.first_instant(shown, zone)) > instant:
                return found
        return None

    def match_after(self, shown: datetime) -> datetime | None:
        """The first time after that which clocks show, as the expression has it; no zone is looked at."""
        walker = copy.copy(_matcher(self.expression, self.days))
        walker.dt = shown.replace(microsecond=0)
        return next(walker, None)

    def matches(self, shown: datetime) -> bool:
        """Whether the expression has this minute."""
        matcher = _matcher(self.expression, self.days)
        is_time = shown.minute in matcher.minutes and shown.hour in matcher.hours
        return bool(is_time and shown.month in matcher.months and matcher.match_day(shown.date()))

    def _literally_after(self, instant: datetime, zone: ZoneInfo) -> datetime | None:
        """Each instant at which clocks show a time that matches. Around a shift each minute is looked at."""
        if _is_shifted(instant, zone):
            for minutes in range(1, AROUND // zones.MINUTE + 1):
                found = instant.replace(second=0, microsecond=0) + minutes * zones.MINUTE
                if self.matches(zones.wall(found, zone)):
                    return found
            return self._literally_after(found, zone)
        for shown in self._matches_after(zones.wall(instant, zone)):
            if following := next((each for each in zones.instants_of(shown, zone) if each > instant), None):
                return following
        return None

    def _matches_after(self, shown: datetime) -> Iterator[datetime]:
        while (following := self.match_after(shown)) is not None:
            yield (shown := following)


def _is_shifted(instant: datetime, zone: ZoneInfo) -> bool:
    offsets = {(instant + step * AROUND).astimezone(zone).utcoffset() for step in (-1, 0, 1)}
    return len(offsets) > 1


@lru_cache(maxsize=1024)
def _matcher(expression: str, days: str) -> Any:
    """cronsim's reading of an expression, to be copied by whoever walks; without a zone it knows no shifts.

    Raises:
        DeclarationError: it cannot be read, or never comes.
    """
    from cronsim import CronSim, CronSimError

    text = NICKNAMES.get(expression.strip().lower(), expression)
    if text.strip().lower() == "@reboot":
        raise DeclarationError("cron '@reboot': a schedule knows no restarts; enqueue the job when your service starts")
    if len(text.split()) != 5:
        raise DeclarationError(
            f"cron {expression!r}: five fields, e.g. '30 2 * * *' for 02:30 every day, or one of {', '.join(NICKNAMES)}"
        )
    try:
        matcher = CronSim(text, datetime(2000, 1, 1))
        if days == "both":
            matcher.day_and = True
        if next(copy.copy(matcher), None) is None:
            raise DeclarationError(f"cron {expression!r}: there is no such day in fifty years")
    except (CronSimError, ValueError) as error:
        raise DeclarationError(f"cron {expression!r}: {error}; five fields, e.g. '30 2 * * *'") from None
    return matcher


kind(Cron.kind, lambda words: Cron(**words))
