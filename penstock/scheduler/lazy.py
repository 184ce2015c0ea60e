"""Arguments of Celery's ``beat_schedule`` that are computed when they are due: ``BeatLazyFunc(datetime.now)``.

A function cannot be stored, so what is stored says that there is one; whoever makes the job looks it up where it is
declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from penstock.errors import ArgumentError

T = TypeVar("T", tuple[Any, ...], dict[str, Any])
MARK = "computed when it is due by"


def stored(given: T) -> T:
    """Arguments with a mark for each function."""
    from celery.beat import BeatLazyFunc

    def each(value: Any) -> Any:
        if not isinstance(value, BeatLazyFunc):
            return value
        return {MARK: getattr(value._func, "__qualname__", type(value._func).__name__)}

    if isinstance(given, dict):
        return {name: each(value) for name, value in given.items()}
    return tuple(each(value) for value in given)


def has_marks(args: list[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether any argument stands for a function."""
    return any(isinstance(value, dict) and MARK in value for value in (*args, *kwargs.values()))


def computed(app: Any, schedule: str) -> tuple[list[Any], dict[str, Any]]:
    """All arguments of an entry, with what its functions return now.

    Args:
        schedule: name of the schedule, as it is stored.

    Raises:
        ArgumentError: the application does not declare it.
    """
    from celery.beat import BeatLazyFunc

    from penstock.scheduler.declarations import fitting_name

    def each(value: Any) -> Any:
        return value() if isinstance(value, BeatLazyFunc) else value

    for name, entry in (app.conf.beat_schedule or {}).items():
        if fitting_name(name) == schedule:
            kwargs = {name: each(value) for name, value in (entry.get("kwargs") or {}).items()}
            return [each(value) for value in entry.get("args") or ()], kwargs
    raise ArgumentError(f"arguments of schedule {schedule!r} are computed by functions that are not declared here")
