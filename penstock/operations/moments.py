"""Points in time as people type them."""

from __future__ import annotations

import re
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from penstock.errors import PenstockError

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class BadMoment(PenstockError):
    """A text is neither an age nor a time; the message says how both are written."""


def moment_of(text: str, zone: str | None = None) -> datetime:
    """A point in time, given by its age (30m, 2h, 7d) or in ISO 8601.

    Args:
        zone: of a time that names none; None: such a time is left naive.

    Raises:
        BadMoment: it is neither.
    """
    text = text.strip()
    age = re.fullmatch(r"(\d+)([smhdw])", text)
    try:
        moment = _ago(int(age[1]), UNITS[age[2]]) if age else datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise _bad(text) from None
    # In the first and the last year, some other zone has no such time, and cannot show it.
    if not MINYEAR < moment.year < MAXYEAR:
        raise _bad(text)
    return moment.replace(tzinfo=ZoneInfo(zone)) if zone and moment.tzinfo is None else moment


def _ago(number: int, unit: str) -> datetime:
    return datetime.now(UTC) - timedelta(**{unit: number})


def _bad(text: str) -> BadMoment:
    return BadMoment(f"{text!r} is neither an age such as 30m, 2h or 7d nor a time such as 2026-11-22T08:00")
