"""What a test says of a job, compared with the jobs that were submitted; and the table that is shown when none fits."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from penstock.task import declared_task
from penstock.testing.enqueued import Enqueued

NEAR = timedelta(seconds=1)
"""How far a due time may be from the one that a test names: it is computed from the time of the call."""
LONGEST = 60
"""Characters of an argument in the table."""
SHOWN = 20
"""Jobs in the table."""
FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
MISSING = "no such argument"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a test says. Of arguments as many as matter: a value, ``unittest.mock.ANY``, a class, or a function that
    says whether a value is the right one.
    """

    task: str
    args: tuple[Any, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    queue: str | None = None
    priority: int | None = None
    tags: Sequence[str] | None = None
    delay: float | None = None
    at: datetime | None = None
    within: float | None = None
    committed: bool | None = None

    def __post_init__(self) -> None:
        if self.at is not None and self.at.tzinfo is None:
            raise ValueError(f"at={self.at!r}: give it a time zone, e.g. datetime(..., tzinfo=UTC)")

    def require_parameters(self) -> None:
        """Raises ValueError for an argument that the task has no parameter for.

        It fits no job, so that an assertion that there is none would hold whatever there is.
        """
        declared = declared_task(self.task)
        if declared is None:
            return
        parameters = declared.signature.parameters
        if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
            return
        if strange := [name for name in self.arguments if name not in parameters]:
            raise ValueError(f"{self.task}{declared.signature} has no parameter {', '.join(strange)}")

    def differences(self, job: Enqueued[Any], now: datetime) -> list[str]:
        """In how far a job is another one, a line each."""
        if job.task != self.task:
            return [f"task: wanted {self.task}, got {job.task}"]
        return [*self._of_arguments(job), *self._of_options(job), *self._of_time(job, now)]

    def _of_arguments(self, job: Enqueued[Any]) -> list[str]:
        given = list(job.arguments.values()) if len(job.arguments) >= len(self.args) else list(job.args)
        positions = [(f"argument {i + 1}", wanted, given[i : i + 1]) for i, wanted in enumerate(self.args)]
        names = [
            (name, wanted, [job.arguments[name]] if name in job.arguments else [])
            for name, wanted in self.arguments.items()
        ]
        return [
            f"{name}: wanted {_wish(wanted)}, got {short(*got) if got else MISSING}"
            for name, wanted, got in positions + names
            if not got or not fits(wanted, got[0])
        ]

    def _of_options(self, job: Enqueued[Any]) -> list[str]:
        found = []
        for name, wanted, got in (
            ("queue", self.queue, job.queue),
            ("priority", self.priority, job.priority),
            ("committed", self.committed, job.is_committed),
        ):
            if wanted is not None and not fits(wanted, got):
                found.append(f"{name}: wanted {_wish(wanted)}, got {got!r}")
        if self.tags is not None and (missing := [tag for tag in self.tags if tag not in job.tags]):
            found.append(f"tags: wanted {', '.join(missing)} among them, got {', '.join(job.tags) or 'none'}")
        return found

    def _of_time(self, job: Enqueued[Any], now: datetime) -> list[str]:
        due = job.due or now
        found = []
        if self.at is not None and abs(due - self.at) > NEAR:
            found.append(f"at: wanted {_moment(self.at)}, got {_moment(job.due)}")
        if self.delay is not None and abs((due - now).total_seconds() - self.delay) > NEAR.total_seconds():
            found.append(f"delay: wanted {self.delay:g} s from now, got {_moment(job.due, now)}")
        if self.within is not None and due > now + timedelta(seconds=self.within):
            found.append(f"within: wanted {self.within:g} s from now at the latest, got {_moment(job.due, now)}")
        return found

    def __str__(self) -> str:
        said = [short(value) if not callable(value) else _wish(value) for value in self.args]
        said += [f"{name}={_wish(value)}" for name, value in self.arguments.items()]
        options: dict[str, Any] = {
            "queue": self.queue,
            "priority": self.priority,
            "delay": self.delay,
            "within": self.within,
        }
        options |= {"at": self.at, "tags": self.tags, "committed": self.committed}
        more = [f"{name}={value!r}" for name, value in options.items() if value is not None]
        return f"{self.task}({', '.join(said)}){' with ' + ', '.join(more) if more else ''}"


def fits(wanted: Any, got: Any) -> bool:
    """Whether a value is the one that is wanted."""
    if isinstance(wanted, type) and not isinstance(got, type):
        return isinstance(got, wanted)
    if isinstance(wanted, FUNCTIONS):
        return bool(wanted(got))
    return bool(wanted == got)


def table(
    jobs: Sequence[Enqueued[Any]], rolled_back: Sequence[Enqueued[Any]], now: datetime, wanted: Wanted | None = None
) -> str:
    """What was submitted, for people: the nearest to what is wanted first, with what is different."""
    if not jobs and not rolled_back:
        return "Nothing was enqueued."
    ordered = [(wanted.differences(job, now) if wanted else [], job) for job in jobs]
    if wanted is not None:
        ordered.sort(key=lambda each: (each[1].task != wanted.task, len(each[0])))
    count = "was 1 job" if len(jobs) == 1 else f"were {len(jobs)} jobs"
    lines = [f"Enqueued {count}{', the nearest first' if wanted and len(jobs) > 1 else ''}:"]
    width = max((len(job.task) for _, job in ordered[:SHOWN]), default=0)
    for differences, job in ordered[:SHOWN]:
        lines.append(f"  {job.task:{width}}  {_call(job)}  {_where(job, now)}")
        if wanted is not None and job.task == wanted.task:
            lines += [f"  {'':{width}}  ^ {each}" for each in differences]
    if len(jobs) > SHOWN:
        lines.append(f"  and {len(jobs) - SHOWN} more")
    if rolled_back:
        lines.append("Rolled back with their transactions, so that they do not exist:")
        lines += [f"  {job.task}  {_call(job)}" for job in rolled_back[:SHOWN]]
    return "\n".join(lines)


def short(value: Any) -> str:
    """A value in a few characters."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _wish(wanted: Any) -> str:
    if isinstance(wanted, type):
        return f"any {wanted.__name__}"
    return f"what {wanted.__qualname__} says" if isinstance(wanted, FUNCTIONS) else short(wanted)


def _call(job: Enqueued[Any]) -> str:
    return f"({', '.join(f'{name}={short(value)}' for name, value in job.arguments.items())})"


def _where(job: Enqueued[Any], now: datetime) -> str:
    said = [f"queue={job.queue}"]
    if job.priority:
        said.append(f"priority={job.priority}")
    if job.due is not None:
        said.append(f"due {_moment(job.due, now)}")
    if job.tags:
        said.append(f"tags={','.join(job.tags)}")
    if job.schedule:
        said.append(f"by schedule {job.schedule}")
    if not job.is_committed:
        said.append("in an uncommitted transaction")
    return " ".join(said)


def _moment(moment: datetime | None, now: datetime | None = None) -> str:
    if moment is None:
        return "at once"
    if now is not None:
        return f"in {(moment - now).total_seconds():.0f} s"
    return moment.astimezone(UTC).isoformat(timespec="seconds")
