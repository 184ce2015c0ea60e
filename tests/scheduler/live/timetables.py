"""The schedules of the beats here, by the name of their timetable: short intervals, so that seconds show dozens of
fires.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from penstock.scheduler.schedule import Schedule, schedule
from penstock.scheduler.timetables.cron import Cron
from penstock.scheduler.timetables.foreign import Foreign
from penstock.scheduler.timetables.interval import Every
from tests.scheduler.live.strange import Failing, Hanging, Slow, Strange
from tests.scheduler.live.tasks import hold, note, tell

TIMETABLE = "TIMETABLE"
"""Variable that names the timetable, with words for it behind."""
GATE = "GATE"
"""Variable that names the file for which held bodies wait."""
LONG, WINDOW = 100, 250
"""Seconds between two fires where beats are down for many of them, and after which one window closes."""
NIGHT = ("30 2 * * *", "*/15 2 * * *", "30 0 * * *", "*/15 0 * * *", "0 * * * *", "*/15 * * * *", "*/15 1-3 * * *")


def noting(name: str, when: Any, **options: Any) -> Schedule:
    """Notes each of its fires. Its jobs may overlap unless it is told otherwise, so that each planned time starts one;
    these are tests of who fires when.
    """
    call = note.bind(schedule=name, planned="{fire_time}", previous="{previous_fire_time}")
    return schedule(name, call, when, **{"overlap": "allow", **options})


def fast() -> list[Schedule]:
    """Some 25 fires a second."""
    plain = [noting(f"every {seconds}", Every(seconds)) for seconds in (0.2, 0.25, 0.3, 0.5, 0.7, 1)]
    shifted = [noting(f"second + {phase}", Every(1, phase=phase)) for phase in (0.1, 0.45, 0.9)]
    return [*plain, *shifted, noting("jittered", Every(0.5), jitter=0.4)]


def single() -> list[Schedule]:
    """One whose jobs do not overlap."""
    return [noting("one at a time", Every(0.5), overlap="skip")]


def orderly() -> list[Schedule]:
    """Fast ones, and that one."""
    return [*fast(), *single()]


def cancelling() -> list[Schedule]:
    """Fast ones, and one whose jobs are cancelled by the next."""
    held = schedule("cancelling", hold.bind(gate=os.environ[GATE]), Every(1), overlap="cancel other")
    return [*fast(), held]


def asked() -> list[Schedule]:
    """Fast ones, and one that has to be asked."""
    return [*fast(), noting("asked", Foreign(Strange(timedelta(seconds=1))))]


def strange() -> list[Schedule]:
    """Fast ones, and those that take long to ask, or cannot be asked at all."""
    objects = (Slow(timedelta(seconds=4)), Hanging(timedelta(seconds=1)), Failing(timedelta(seconds=1)))
    return [*fast(), *(noting(type(each).__name__, Foreign(each)) for each in objects)]


def down() -> list[Schedule]:
    """Every way to catch up."""
    ways: dict[str, Any] = {each: each for each in ("none", "latest", "all")}
    ways["window"] = timedelta(seconds=WINDOW)
    late = [noting(name, Every(LONG), catch_up=way, on_missed=tell) for name, way in ways.items()]
    return [*late, noting("none, but just in time", Every(LONG, phase=30), catch_up="none")]


def night(zone: str) -> list[Schedule]:
    """Times of the night in a zone, by both rules for clocks that are shifted."""
    return [
        noting(f"{expression} {dst}", Cron(expression), timezone=zone, dst=dst, catch_up="all")
        for expression in NIGHT
        for dst in ("cron", "literal")
    ]


TIMETABLES: dict[str, Callable[..., list[Schedule]]] = {
    each.__name__: each for each in (fast, single, orderly, cancelling, asked, strange, down, night)
} | {"none": list}


def chosen() -> Sequence[Schedule]:
    """Those of this process."""
    name, *words = os.environ[TIMETABLE].split()
    return TIMETABLES[name](*words)
