"""Planned times of schedules: which of them count, and which job, or which word on the books, is whose.

Stock Celery's beat says of no job which planned time it is for, so a job belongs to the latest one before its start.
Ours has a row for each: it must name the job, and a job that no row names is counted in the same way.
"""

from __future__ import annotations

import json
import math
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.effects import TICK, Effect

SAME = 0.001
"""Seconds by which a planned time on the books may differ from the one that counts."""
FIRED, WAITING = "fired", "waiting"


@dataclass(frozen=True)
class Booked:
    """What the books say of a planned time. Times are seconds since 1970."""

    schedule: str
    planned_at: float
    state: str
    reason: str | None
    job: str | None
    decided_at: float


@dataclass(frozen=True)
class Found:
    """What has become of planned times, by their names."""

    fired: dict[str, set[str]] = field(default_factory=dict)
    """The jobs of those that have some."""
    told: dict[str, str] = field(default_factory=dict)
    """Why those have none of which the books say it."""
    unplanned: set[str] = field(default_factory=set)
    """Those on the books that nobody has planned."""
    jobs: set[str] = field(default_factory=set)
    """Every job of a schedule, also before and after the times that count."""


@dataclass(frozen=True)
class Series:
    """The planned times of one schedule that count. Times are seconds since 1970."""

    key: str
    moments: Sequence[float]
    until: float = math.inf
    """Jobs that start from then on are of later times."""

    @property
    def names(self) -> list[str]:
        """Of its planned times."""
        return [f"{self.key} at {moment:.3f}" for moment in self.moments]

    def latest(self, at: float) -> str | None:
        """The name of the last planned time up to then."""
        past = [name for name, moment in zip(self.names, self.moments, strict=True) if moment <= at < self.until]
        return past[-1] if past else None

    def of(self, planned_at: float) -> str | None:
        """The name of this very planned time."""
        near = [moment for moment in self.moments if abs(moment - planned_at) <= SAME]
        return self.names[self.moments.index(near[0])] if near else None

    def covers(self, planned_at: float) -> bool:
        """Whether it lies among those that count."""
        return self.moments[0] <= planned_at < self.until


class Fires:
    """All schedules of a run; its beats are told of them in ``file``."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._told: list[dict[str, Any]] = []
        self._series: dict[str, Series] = {}
        self._booked: dict[tuple[str, float], Booked] = {}
        self._to_monotonic = time.monotonic() - time.time()

    def declare(self, every: float | None = None, moments: Sequence[float] = (), catch_up: float | None = None) -> str:
        """A schedule for beats that begin later; its key."""
        key = str(uuid.uuid4())  # So that it is found in messages, whatever they look like.
        self._told.append({"key": key, "every": every, "moments": moments, "catch_up": catch_up})
        self.file.write_text(json.dumps(self._told))
        return key

    @property
    def are_there(self) -> bool:
        """Whether anything is scheduled."""
        return bool(self._told)

    @property
    def to_come(self) -> set[str]:
        """Keys of schedules that are due some time."""
        now = time.time()
        return {each["key"] for each in self._told if each["every"] or any(at > now for at in each["moments"])}

    def expect(self, series: Series) -> None:
        """From now on these planned times count."""
        self._series[series.key] = series

    def note(self, booked: Iterable[Booked]) -> None:
        """What the books say now; a database that does not answer has said nothing new."""
        self._booked |= {(each.schedule, each.planned_at): each for each in booked}

    @property
    def planned(self) -> dict[str, float]:
        """When each has to come, in seconds of the monotonic clock, by its name."""
        return {
            name: moment + self._to_monotonic
            for series in self._series.values()
            for name, moment in zip(series.names, series.moments, strict=True)
        }

    def schedules(self, names: Iterable[str]) -> dict[str, str]:
        """The keys of the schedules of planned times."""
        chosen = set(names)
        return {name: series.key for series in self._series.values() for name in series.names if name in chosen}

    @property
    def latency(self) -> float:
        """The longest time from a planned time to the decision on it, of those that count."""
        counted = [each for each in self._booked.values() if self._name(each)]
        return max((each.decided_at - each.planned_at for each in counted), default=0.0)

    def found(self, effects: Iterable[Effect]) -> Found:
        """Puts together what the tasks did and what the books say."""
        fired: dict[str, set[str]] = defaultdict(set)
        found = Found(fired)
        for row in self._booked.values():
            self._sort_in(row, found)
        for tick in effects:
            if tick.kind != TICK or tick.job in found.jobs:
                continue
            found.jobs.add(tick.job)
            series = self._series.get(tick.facts["schedule"])
            if series and (name := series.latest(tick.facts["wall"])):
                fired[name].add(tick.job)
        return found

    def _sort_in(self, row: Booked, found: Found) -> None:
        name, series = self._name(row), self._series.get(row.schedule)
        if row.job:
            found.jobs.add(row.job)
        if name is None:
            if series is not None and series.covers(row.planned_at):
                found.unplanned.add(f"{row.schedule} at {row.planned_at:.3f}")
        elif row.state == FIRED and row.job:
            found.fired.setdefault(name, set()).add(row.job)
        elif row.state != WAITING and row.reason:
            found.told[name] = row.reason

    def _name(self, row: Booked) -> str | None:
        series = self._series.get(row.schedule)
        return series.of(row.planned_at) if series else None
