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


def computed(app: Any, schedule: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments with what the functions return now.

    Args:
        schedule: name of the schedule, as it is stored.

    Raises:
        ArgumentError: the application does not declare them.
    """
    from celery.beat import BeatLazyFunc

    from penstock.scheduler.declarations import fitting_name

    for name, entry in (app.conf.beat_schedule or {}).items():
        if fitting_name(name) == schedule:
            given = [*(entry.get("args") or ()), *(entry.get("kwargs") or {}).values()]
            values = [value() if isinstance(value, BeatLazyFunc) else value for value in given]
            return values[: len(args)], dict(zip(kwargs, values[len(args) :], strict=True))
    raise ArgumentError(f"arguments of schedule {schedule!r} are computed by functions that are not declared here")
