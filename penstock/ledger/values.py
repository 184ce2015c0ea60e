"""Single values of what a message tells, whoever has written it. Without Celery, for those who have none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

UNKNOWN_TASK = "(unknown)"
MAX_SMALL_INTEGER = 32767


def claim_token(claimer: Any, token: Any) -> str | None:
    """A claim by a name that no other has; None without one. The claimer's host says nothing that tells it apart."""
    return f"{claimer.rpartition('/')[2]}:{token}" if isinstance(claimer, str) and token else None


def small_integer(value: Any) -> int | None:
    """A number as a small column takes it; anything else counts as absent."""
    return value if type(value) is int and 0 <= value <= MAX_SMALL_INTEGER else None


def as_time(value: Any) -> datetime | None:
    """A time in UTC; nonsense counts as absent."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, AttributeError):
        return None
