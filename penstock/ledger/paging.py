"""Cursors: where a page of a list ends, as one word. Every list is sorted by a time and, within that, by an id."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from penstock.errors import PenstockError

_EPOCH, _TICK = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class BadCursor(PenstockError):
    """A text is no cursor; copy the one that the page before ended with."""


def cursor_of(at: datetime, id: str) -> str:
    """One word, for the next page."""
    words = f"{(at - _EPOCH) // _TICK:x} {id}"
    return base64.urlsafe_b64encode(words.encode()).decode().rstrip("=")


def place_of(cursor: str) -> tuple[datetime, str]:
    """The time and the id that a cursor stands for.

    Raises:
        BadCursor: it is none.
    """
    try:
        words = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        ticks, sign, id = words.partition(" ")
        if sign and "\x00" not in id:
            return _EPOCH + int(ticks, 16) * _TICK, id
    except (ValueError, OverflowError):
        pass
    raise BadCursor(f"{cursor!r} is no cursor; copy the one that the page before ended with")
