"""How failed jobs of one error have become more or fewer, in a word and by the hour."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from penstock.ledger.failure_groups import HOUR, hour_of

MUCH = 1.5
"""Times as many in an hour are more, and a share as small is fewer; less than that is chance."""
LATE_PART = 4
"""What happens in the last part of so many is compared with what happened before."""


class Change(StrEnum):
    """What has become of an error; the value says it to people."""

    NEW = "new"
    """It was never seen before."""
    BACK = "back"
    """It was seen before, and not for a long time."""
    RISING = "rising"
    STEADY = "steady"
    FALLING = "falling"
    QUIET = "quiet"
    """It was there, and is not any more."""


def hours_between(since: datetime, until: datetime) -> list[datetime]:
    """The beginning of each hour, from that of ``since`` to that of ``until``."""
    first = hour_of(since)
    return [first + number * HOUR for number in range((hour_of(until) - first) // HOUR + 1)]


def change_of(hours: Mapping[datetime, int], first_at: datetime, since: datetime, until: datetime) -> Change:
    """The last quarter of the time against what was before it, by the hour: the last hour is not over yet.

    Args:
        hours: how many in which hour.
        first_at: the first one that is known of.
    """
    begin, border = hour_of(since), hour_of(until - (until - since) / LATE_PART)
    before = sum(count for hour, count in hours.items() if begin <= hour < border)
    late = sum(count for hour, count in hours.items() if border <= hour)
    if not late:
        return Change.QUIET
    if not before:
        return Change.NEW if first_at >= begin else Change.BACK
    ratio = (late / max((until - border) / HOUR, 1)) / (before / ((border - begin) / HOUR))
    return Change.RISING if ratio >= MUCH else Change.FALLING if ratio <= 1 / MUCH else Change.STEADY
