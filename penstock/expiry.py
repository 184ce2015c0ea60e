"""Until when a job may start. Every worker of Celery's honours a message's ``expires``; what it was made of travels in
two headers, from which a retry's is made anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from penstock.message import FINAL_EXPIRES, SCHEDULE_TIMEOUT
from penstock.seconds import is_number


class Expiry(NamedTuple):
    """Of one message."""

    at: datetime | None
    """For ``expires``."""
    headers: dict[str, Any]


def expiry(due: datetime, schedule_timeout: float | None, final: datetime | None) -> Expiry:
    """When a message expires that may be started from ``due`` on.

    Args:
        schedule_timeout: seconds that it may wait for a worker.
        final: when its job expires, whatever it has been through.
    """
    if schedule_timeout is None:
        return Expiry(final, {})
    headers: dict[str, Any] = {SCHEDULE_TIMEOUT: schedule_timeout}
    if final is not None:
        headers[FINAL_EXPIRES] = final.isoformat()
    try:
        waited = due + timedelta(seconds=schedule_timeout)
    except OverflowError:  # Longer than there is time.
        return Expiry(final, headers)
    return Expiry(waited if final is None else min(waited, final), headers)


def expiry_of_send(options: Mapping[str, Any], declared_timeout: float | None, declared_expires: Any) -> Expiry:
    """The same of a message that Celery sends, the first of its job or a later one.

    Args:
        options: of ``apply_async``. A later message has the headers of the one before among them.
    """
    headers = options.get("headers") or {}
    told: Any = headers.get(SCHEDULE_TIMEOUT)
    goes_on = is_number(told) and told > 0
    timeout = told if goes_on else declared_timeout
    now = datetime.now(UTC)
    final = headers.get(FINAL_EXPIRES) if goes_on else options.get("expires", declared_expires)
    due = _moment(options.get("eta") or options.get("countdown"), now) or now
    # What nobody can read is left out, so that the retry is not lost over it.
    return expiry(max(due, now), timeout, _moment(final, now))


def _moment(given: Any, now: datetime) -> datetime | None:
    """A time, as Celery takes it: seconds from now, a datetime, or its text. None: there is none."""
    try:
        if is_number(given):
            return now + timedelta(seconds=given)
        moment = datetime.fromisoformat(given) if isinstance(given, str) else given
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, AttributeError):
        return None
