"""How long an exception asks to wait: by its own ``retry_after``, or by the HTTP response that it carries."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from penstock.seconds import is_number

HEADERS = ("Retry-After", "retry-after")
"""The second for responses whose headers are a plain dict."""
_SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)


def asked_pause(error: BaseException) -> float | None:
    """Seconds from now, or None when it asks for nothing that can be understood.

    Looked at in turn: ``error.retry_after`` (seconds, a timedelta, or a datetime with a zone), then the header
    ``Retry-After`` (seconds or an HTTP date) in ``error.response.headers``, where httpx and requests have it, and in
    ``error.headers``, where aiohttp and urllib do.
    """
    if (seconds := _seconds(_look(error, "retry_after"))) is not None:
        return seconds
    for carrier in (_look(error, "response"), error):
        if (seconds := _seconds_of_header(_header(_look(carrier, "headers")))) is not None:
            return seconds
    return None


def _look(thing: Any, name: str) -> Any:
    """An attribute. It may be a property of somebody's, which raises what it likes."""
    try:
        return getattr(thing, name, None)
    except Exception:
        return None


def _header(headers: Any) -> Any:
    for name in HEADERS:
        try:
            if (value := headers.get(name)) is not None:
                return value
        except Exception:
            return None
    return None


def _seconds(asked: Any) -> float | None:
    if isinstance(asked, datetime):
        return max((asked - datetime.now(UTC)).total_seconds(), 0.0) if asked.tzinfo else None
    if isinstance(asked, timedelta):
        asked = asked.total_seconds()
    return float(asked) if is_number(asked) and asked >= 0 else None


def _seconds_of_header(value: Any) -> float | None:
    if not isinstance(value, str):
        return None
    if _SECONDS.fullmatch(value.strip()):
        return float(value)
    from email.utils import parsedate_to_datetime  # 5 ms to import, and only errors of HTTP come here

    try:
        date = parsedate_to_datetime(value)
        return _seconds(date if date.tzinfo else date.replace(tzinfo=UTC))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
