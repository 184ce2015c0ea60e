"""Arguments that carry the time of their fire: ``"{fire_time:%Y-%m-%d}"``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from penstock.errors import ArgumentError

PLACES = ("fire_time", "previous_fire_time")
_PLACE = re.compile(r"\{(fire_time|previous_fire_time)(?::([^{}]*))?\}")
_MISSPELT = re.compile(r"\{((?:previous_?)?fire_?\w*)\}")


@dataclass(frozen=True)
class FireTimes:
    """What takes the places: times in the zone of the schedule."""

    fire_time: datetime
    previous_fire_time: datetime | None
    """Of the fire before that started a job; None: this is the first."""

    @classmethod
    def of(cls, fire_time: datetime, previous: datetime | None, zone: ZoneInfo) -> FireTimes:
        """These instants as clocks of the zone show them, with their offset."""
        return cls(fire_time.astimezone(zone), previous.astimezone(zone) if previous else None)


def filled(value: Any, times: FireTimes) -> Any:
    """A JSON value with its places taken.

    A text that is nothing but one place becomes the time in ISO 8601, or None where there is none; in a longer text
    and with a format (as ``strftime`` has it), a time that is not there leaves nothing. Other braces stay.
    """
    if isinstance(value, str):
        return _filled_text(value, times) if "{" in value else value
    if isinstance(value, Mapping):
        return {name: filled(each, times) for name, each in value.items()}
    return [filled(each, times) for each in value] if isinstance(value, (list, tuple)) else value


def _filled_text(text: str, times: FireTimes) -> str | None:
    whole = _PLACE.fullmatch(text)
    if whole and getattr(times, whole[1]) is None:
        return None
    return _PLACE.sub(lambda place: _shown(getattr(times, place[1]), place[2]), text)


def _shown(moment: datetime | None, form: str | None) -> str:
    if moment is None:
        return ""
    return moment.strftime(form) if form else moment.isoformat()


def check_places(value: Any) -> None:
    """Raises ArgumentError when a text nearly names a place, as ``{firetime}`` does."""
    for text in _texts(value):
        for found in _MISSPELT.finditer(text):
            if found[1] not in PLACES:
                raise ArgumentError(
                    f"{text!r}: there is no {{{found[1]}}}; write {{fire_time}} or {{previous_fire_time}}"
                )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)
