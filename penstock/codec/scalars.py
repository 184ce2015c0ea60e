"""Single values: those that JSON has, and those that become a text or a number."""

from __future__ import annotations

import difflib
import enum
import math
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

from penstock.codec.form import CONVERTED, NUMBER, PATH, TEXT, Codec

JSON_SCALARS = (str, int, float, bool, type(None))
SHOWN_MEMBERS = 10


class Same(Codec):
    """What JSON has itself."""

    def __init__(self, kind: type) -> None:
        super().__init__("None" if kind is type(None) else kind.__name__)
        self.rank = TEXT if kind is str else NUMBER
        self._taken = (int, float) if kind is float else kind
        # To Python True is an int; where a number is asked for it is a mistake.
        self._is_number = kind in (int, float)

    def encode(self, value: Any) -> Any:
        if not isinstance(value, self._taken) or (self._is_number and isinstance(value, bool)):
            raise self.misfit(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise self.unreadable(value, ", as JSON has no word for it")
        return value

    decode = encode


class Choice(Codec):
    """A ``Literal``."""

    rank = NUMBER

    def __init__(self, choices: tuple[Any, ...]) -> None:
        super().__init__(" | ".join(map(repr, choices)))
        self._choices = [(type(each), each) for each in choices]

    def encode(self, value: Any) -> Any:
        if (type(value), value) not in self._choices:
            raise self.unreadable(value, "")
        return value

    decode = encode


class Text(Codec):
    """What has a text by which it is known."""

    rank = CONVERTED

    def __init__(
        self,
        kind: type,
        read: Callable[[str], Any],
        write: Callable[[Any], str] = str,
        *,
        numbers: bool = False,
        apart_from: type | tuple[()] = (),
    ) -> None:
        """Args:
        numbers: a number stands for itself as well.
        apart_from: a subclass whose values would lose a part.
        """
        super().__init__(kind.__name__, converts=True)
        self._kind, self._read, self._write = kind, read, write
        self._numbers: tuple[type, ...] = (int, float) if numbers else ()
        self._apart_from = apart_from

    def encode(self, value: Any) -> str:
        if not isinstance(value, self._kind) or isinstance(value, self._apart_from):
            raise self.misfit(value)
        return self._write(value)

    def decode(self, value: Any) -> Any:
        if not isinstance(value, str) and (not isinstance(value, self._numbers) or isinstance(value, bool)):
            raise self.misfit(value)
        try:
            return self._read(str(value))
        except (ValueError, ArithmeticError):
            raise self.unreadable(value) from None


def _datetime(text: str) -> datetime:
    if len(text) <= len("2026-01-01"):
        raise ValueError("a day alone: midnight would be a guess")
    return datetime.fromisoformat(text)


def _bytes(text: str) -> bytes:
    return b64decode(text, validate=True)


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


TEXTS: dict[type, Text] = {
    bytes: Text(bytes, _bytes, _base64),
    datetime: Text(datetime, _datetime, datetime.isoformat),
    date: Text(date, date.fromisoformat, date.isoformat, apart_from=datetime),
    time: Text(time, time.fromisoformat, time.isoformat),
    UUID: Text(UUID, UUID),
    Decimal: Text(Decimal, Decimal, numbers=True),
}


def path_of(kind: type[PurePath]) -> Text:
    """The codec of a class of paths."""
    codec = Text(kind, kind)
    codec.rank = PATH  # Any text is a path.
    return codec


class Seconds(Codec):
    """A ``timedelta`` as a number of seconds, whole if it is."""

    rank = CONVERTED

    def __init__(self) -> None:
        super().__init__("timedelta", converts=True)

    def encode(self, value: Any) -> int | float:
        if not isinstance(value, timedelta):
            raise self.misfit(value)
        if not value.microseconds:
            return value.days * 86_400 + value.seconds
        seconds = value.total_seconds()
        # After more than a century a float has no room for microseconds any more.
        if timedelta(seconds=round(seconds, 6)) != value:
            raise self.unreadable(value, " that a number of seconds says exactly; round it")
        return seconds

    def decode(self, value: Any) -> timedelta:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self.misfit(value)
        try:
            return timedelta(seconds=value)
        except (OverflowError, ValueError):
            raise self.unreadable(value) from None


class Member(Codec):
    """A member of an enum by its value, or by its name where values are not JSON."""

    rank = CONVERTED

    def __init__(self, kind: type[enum.Enum]) -> None:
        super().__init__(kind.__name__, converts=True)
        self._kind = kind
        self._by_value = all(type(each.value) in JSON_SCALARS for each in kind)

    def encode(self, value: Any) -> Any:
        if not isinstance(value, self._kind):
            raise self.misfit(value)
        return value.value if self._by_value else value.name

    def decode(self, value: Any) -> enum.Enum:
        try:
            return self._kind(value) if self._by_value else self._kind[value]
        except (ValueError, KeyError, TypeError):
            raise self.unreadable(value, self._hint(value)) from None

    def _hint(self, value: Any) -> str:
        known = [each.value if self._by_value else each.name for each in self._kind]
        close = difflib.get_close_matches(str(value), [each for each in known if isinstance(each, str)], n=1)
        if close:
            return f"; did you mean {close[0]!r}?"
        return f"; known are {', '.join(map(repr, known))}" if len(known) <= SHOWN_MEMBERS else ""
