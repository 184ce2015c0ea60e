"""Declaring schedules. Data only; importing this does not import Celery."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.errors import ArgumentError, DeclarationError
from penstock.message import encode_arguments
from penstock.task import Task

MAX_ARGUMENT_BYTES = 64 * 1024


@dataclass(frozen=True)
class Cron:
    """Five fields (minute, hour, day of month, month, day of week) in the zone of PENSTOCK_TIMEZONE."""

    expression: str

    def __post_init__(self) -> None:
        if len(self.expression.split()) != 5:
            raise DeclarationError(f"cron {self.expression!r}: five fields, e.g. '30 2 * * *' for 02:30 every day")

    def __str__(self) -> str:
        return self.expression


@dataclass(frozen=True)
class Every:
    """A fixed interval in seconds."""

    seconds: float

    def __post_init__(self) -> None:
        if not (isinstance(self.seconds, (int, float)) and math.isfinite(self.seconds) and self.seconds > 0):
            raise DeclarationError(f"every {self.seconds!r} seconds: a number, more than 0")

    def __str__(self) -> str:
        return f"every {self.seconds:g} s"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A task that starts again and again.

    Args:
        name: unique in the deployment; jobs carry it.
        task: what starts.
        when: :class:`Cron` or :class:`Every`.
        kwargs: its arguments, JSON.
    """

    name: str
    task: Task[..., Any]
    when: Cron | Every
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def problem(self) -> str | None:
        """Why this schedule cannot start its task, or None."""
        try:
            self.task.check_arguments((), dict(self.kwargs))
            encode_arguments(self.task.name, (), self.kwargs, MAX_ARGUMENT_BYTES)
        except ArgumentError as error:
            return f"schedule {self.name!r}: {error}"
        return None


def timetable(*modules: tuple[Schedule, ...]) -> tuple[Schedule, ...]:
    """All schedules of a deployment in one list.

    Raises:
        DeclarationError: two have the same name, or arguments do not fit their task.
    """
    schedules = tuple(schedule for module in modules for schedule in module)
    names = [schedule.name for schedule in schedules]
    problems = [f"schedule {name!r} is declared twice" for name in sorted({n for n in names if names.count(n) > 1})]
    problems += [problem for schedule in schedules if (problem := schedule.problem())]
    if problems:
        raise DeclarationError("; ".join(problems))
    return schedules
