"""What a job has logged, as those who read it get it, and how they name a place in it and a level."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from penstock.errors import ArgumentError

LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, order=True)
class Cursor:
    """A place in a job's log: behind this line."""

    began: int
    """The attempt's, in milliseconds since 1970."""
    number: int
    """Of the line within its attempt."""

    def __str__(self) -> str:
        return f"{self.began}.{self.number}"

    @classmethod
    def of(cls, text: str) -> Cursor:
        """The cursor that was written as this.

        Raises:
            ValueError: it is none.
        """
        began, sign, number = text.partition(".") if isinstance(text, str) else ("", "", "")
        if not (sign and began.isascii() and began.isdigit() and number.isascii() and number.isdigit()):
            raise ValueError(f"{text!r} is no cursor of a log; take one that was told with its lines")
        return cls(min(int(began), 1 << 62), min(int(number), 1 << 30))


BEGINNING = Cursor(0, 0)


@dataclass(frozen=True)
class LogLine:
    """A line that a body has logged."""

    start: int
    """Which start of the job has logged it, from 1."""
    number: int
    """Within its start, from 1, also of lines that were left out."""
    at: datetime
    level: str
    logger: str
    text: str
    """With its traceback, if it has one; redacted."""
    left_out: int
    """Lines that were logged between the line before it and this one, and are not kept."""


@dataclass(frozen=True)
class Log:
    """Lines of a job's log, in their order."""

    lines: tuple[LogLine, ...]
    left_out: int
    """Lines that were logged after the last one and are not kept."""
    cursor: str
    """Where to read on."""
    has_more: bool
    """Whether there are lines behind it."""

    def __iter__(self) -> Iterator[LogLine]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)


def cursor_of(text: str | None) -> Cursor:
    """The place in a log that somebody names; None: its beginning.

    Raises:
        ArgumentError: it is none.
    """
    try:
        return BEGINNING if text is None else Cursor.of(text)
    except ValueError as error:
        raise ArgumentError(str(error)) from None


def level_of(level: str | int) -> int:
    """The number of a level that somebody names, or gives as ``logging`` does: ``logging.INFO``.

    Raises:
        ArgumentError: there is none of this name.
    """
    if isinstance(level, int) and not isinstance(level, bool):
        return level
    if not isinstance(level, str) or level.lower() not in LEVELS:
        raise ArgumentError(f"level={level!r}: one of {', '.join(LEVELS)}, or a number as logging.INFO is")
    return int(getattr(logging, level.upper()))
