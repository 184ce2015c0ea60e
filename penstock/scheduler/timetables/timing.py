"""What all kinds of timetables have in common, and how each is written as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Literal, Protocol
from zoneinfo import ZoneInfo

from penstock.errors import DeclarationError

Dst = Literal["cron", "literal"]
"""What becomes of local times that come never or twice because clocks are put forward or back.

``cron``: as Debian's cron has it, except that there a ``*`` in the minute opens the hour as well. A fixed time that is
jumped over comes once, right after the jump, and one that comes twice fires the first time; where the hour is open
(``*``), what counts is the time that passes.
``literal``: each time the clocks show it, so perhaps never and perhaps twice.
"""


class When(Protocol):
    """A timetable: from each instant it knows the next."""

    kind: ClassVar[str]

    def after(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> datetime | None:
        """The first planned time after an instant, in UTC; None when there is none any more."""

    def words(self) -> dict[str, Any]:
        """Itself as JSON values, from which :func:`when_of` makes it again."""


_kinds: dict[str, Callable[[Mapping[str, Any]], When]] = {}


def kind(name: str, make: Callable[[Mapping[str, Any]], When]) -> None:
    """Makes a kind known to :func:`when_of`."""
    _kinds[name] = make


def when_of(words: Mapping[str, Any]) -> When:
    """The timetable that :meth:`When.words` has made words of.

    Raises:
        DeclarationError: they describe none.
    """
    try:
        return _kinds[words["kind"]]({name: value for name, value in words.items() if name != "kind"})
    except (KeyError, TypeError, ValueError) as error:
        raise DeclarationError(f"{words!r} is no timetable of this version ({error!r})") from None
