"""How long the ledger keeps what is over: the rules, as PENSTOCK_RETENTION has them. Nothing is deleted here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from penstock.job import FINAL, State

SHORTEST, LONGEST = timedelta(hours=1), timedelta(days=3650)
"""Bounds of an age. A message that comes back after a failover must still find what became of its job."""
FOREVER = "forever"
TASK = "task:"
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


class Thing(StrEnum):
    """What is kept beside jobs."""

    FAILURES = "failures"
    """How often which error came, by hour."""
    LETTERS = "letters"
    """Dead letters that somebody has replayed or discarded; the others stay."""
    COUNTERS = "counters"
    """Counters of chords whose body has been started; the chord's jobs stay as long, whatever their own rule says."""
    GROUPS = "groups"
    """What GroupResult.save() has saved."""
    FIRES = "fires"
    """What has become of planned times of schedules; those that wait stay, and those whose job has not ended."""
    SERIES = "series"
    """What has waited in queues and what has become of their jobs, by the minute."""
    AUDIT = "audit"
    """Who did what."""


@dataclass(frozen=True)
class RetentionRules:
    """Ages after which a row goes; None: never.

    Jobs count from their last change, the rest from when it came, was settled, fired or decided on.
    """

    ages: Mapping[str, timedelta | None]
    """By final state or thing; all of them."""
    tasks: tuple[tuple[str, timedelta | None], ...] = field(default=())
    """By pattern of task names (``reports.*``), before those of states; the first that fits counts."""

    def of_job(self, task: str, state: State) -> timedelta | None:
        """How long a job that has ended is kept."""
        for pattern, age in self.tasks:
            if fnmatchcase(task, pattern):
                return age
        return self.ages[state.value]

    def with_task(self, pattern: str, age: timedelta) -> RetentionRules:
        """The same, with a rule that comes before all others."""
        return RetentionRules(self.ages, ((pattern, age), *self.tasks))

    def __str__(self) -> str:
        words = [f"{name}={_written(age)}" for name, age in self.ages.items()]
        return ",".join([*words, *(f"{TASK}{pattern}={_written(age)}" for pattern, age in self.tasks)])


DEFAULT = RetentionRules(
    {
        State.SUCCEEDED.value: timedelta(days=30),
        State.FAILED.value: timedelta(days=90),
        State.CANCELLED.value: timedelta(days=30),
        Thing.FAILURES.value: timedelta(days=90),
        Thing.LETTERS.value: timedelta(days=90),
        Thing.COUNTERS.value: timedelta(days=1),
        Thing.GROUPS.value: timedelta(days=30),
        Thing.FIRES.value: timedelta(days=90),
        Thing.SERIES.value: timedelta(days=2),
        Thing.AUDIT.value: timedelta(days=365),
    }
)
assert DEFAULT.ages.keys() == {*FINAL, *Thing}


def read_rules(text: str) -> RetentionRules:
    """The rules in ``succeeded=7d,task:reports.*=1d``; what is not named is as in :data:`DEFAULT`.

    Raises:
        ValueError: one or several entries make no sense; all of them are named.
    """
    ages, problems = dict(DEFAULT.ages), list[str]()
    tasks: dict[str, timedelta | None] = {}
    for entry in (word.strip() for word in text.split(",") if word.strip()):
        name, _, age = (part.strip() for part in entry.rpartition("="))
        if problem := next(_problems(entry, name, age), None):
            problems.append(problem)
        elif name.startswith(TASK):
            tasks.setdefault(name.removeprefix(TASK), _age(age))
        else:
            ages[name] = _age(age)
    if problems:
        raise ValueError("; ".join(problems))
    return RetentionRules(ages, tuple(tasks.items()))


def _problems(entry: str, name: str, age: str) -> Iterator[str]:
    if not name or not age:
        yield f"{entry!r} is not name=age; write for example succeeded=7d"
    elif name.startswith(TASK):
        if not name.removeprefix(TASK):
            yield f"{entry!r} names no task; write for example {TASK}reports.*=1d"
    elif name not in DEFAULT.ages:
        yield f"{name!r} is none of {', '.join(DEFAULT.ages)}, {TASK}PATTERN"
    try:
        _age(age)
    except ValueError as error:
        yield f"{entry!r}: {error}"


def _age(text: str) -> timedelta | None:
    if text == FOREVER:
        return None
    match = re.fullmatch(r"(\d{1,6})([hdw])", text)
    age = int(match[1]) * _UNITS[match[2]] if match else timedelta(0)
    if not SHORTEST <= age <= LONGEST:
        raise ValueError(
            f"give an age from {_written(SHORTEST)} to {_written(LONGEST)}, such as 12h, 7d or 2w, or {FOREVER}"
        )
    return age


def _written(age: timedelta | None) -> str:
    if age is None:
        return FOREVER
    return f"{age.days}d" if not age % _UNITS["d"] else f"{age // _UNITS['h']}h"
