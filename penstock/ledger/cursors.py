"""Cursors: where a page of a list ends, as one word of an address."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime

from penstock.errors import PenstockError

_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


class BadCursor(PenstockError):
    """A text is no cursor; copy the one that the page before ended with."""


def cursor_of(*words: str) -> str:
    """Words as one, of letters that need no escape anywhere."""
    return base64.urlsafe_b64encode(json.dumps(words).encode()).decode().rstrip("=")


def words_of(cursor: str, count: int) -> list[str]:
    """The words that :func:`cursor_of` has made a cursor of.

    Raises:
        BadCursor: it was made of something else.
    """
    try:
        words = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if isinstance(words, list) and len(words) == count and all(map(_is_word, words)):
            return words
    except (ValueError, RecursionError):
        pass
    raise BadCursor(f"{cursor!r} is no cursor; copy the one that the page before ended with")


def place_of(cursor: str) -> tuple[datetime, str]:
    """The time and the id that a list is sorted by, of a cursor of these two.

    Raises:
        BadCursor: it was made of something else.
    """
    at, id = words_of(cursor, 2)
    try:
        return moment_of(at), id
    except BadCursor:
        raise BadCursor(f"{cursor!r} is no cursor; copy the one that the page before ended with") from None


def moment_of(word: str) -> datetime:
    """The time that a word of a cursor stands for, as ``isoformat`` writes it.

    Raises:
        BadCursor: it stands for none.
    """
    try:
        moment = datetime.fromisoformat(word)
        if moment.utcoffset() is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise BadCursor(f"{word!r} is no time of a cursor; copy the cursor that the page before ended with")


def _is_word(word: object) -> bool:
    # Neither NUL nor half a letter: no database takes these. Ids of strangers may hold anything else.
    return isinstance(word, str) and not _NO_TEXT.search(word)
