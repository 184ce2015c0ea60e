"""Declaring schedules. Data only; importing this does not import Celery."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args
from zoneinfo import ZoneInfo

import penstock.scheduler.timetables.calendar
import penstock.scheduler.timetables.interval  # noqa: F401  makes its kinds known, as the import above does
from penstock import tags as tagging
from penstock.errors import ArgumentError, DeclarationError
from penstock.message import encode_arguments
from penstock.scheduler.arguments import FireTimes, check_places, filled
from penstock.scheduler.timetables.timing import Dst, When, when_of
from penstock.scheduler.timetables.zones import zone_of
from penstock.task import BoundCall, Task, declared_tasks

if TYPE_CHECKING:
    from celery.canvas import Signature

Overlap = Literal["skip", "buffer one", "buffer all", "cancel other", "allow"]
"""What a fire does while a job of the same schedule has not ended.

``skip``: nothing. ``buffer one``: it waits for the end, further ones are skipped. ``buffer all``: all of them wait, and
start one after the other. ``cancel other``: it cancels that job, and starts when it has ended. ``allow``: it starts.
"""
CatchUp = Literal["none", "latest", "all"] | timedelta
"""Which fires that nobody could start within a minute start later: none, the last, or all; or how late one may be."""
MAX_NAME, MAX_EXCLUDED = 200, 1000
MAX_ARGUMENT_BYTES = 64 * 1024
MAX_JITTER = 86_400
CARRIED = ("queue", "priority", "expires", "schedule_timeout", "tags")
"""Options of a call that its schedule carries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """A task that starts again and again; :func:`schedule` makes one.

    Everything is data, so that it is stored as a row and read by schedulers that know nothing of the declaration.
    """

    name: str
    task: str
    when: When
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of each job: those of CARRIED; of plain Celery tasks also what else ``apply_async`` takes."""
    timezone: str | None = None
    dst: Dst = "cron"
    overlap: Overlap = "skip"
    catch_up: CatchUp = "latest"
    jitter: float = 0.0
    start: datetime | None = None
    end: datetime | None = None
    max_fires: int | None = None
    exclude: tuple[date, ...] = ()
    pause_after_failures: int | None = None
    tags: tuple[str, ...] = ()
    on_missed: str | None = None
    is_template: bool = True
    """Whether ``{fire_time}`` in arguments has a meaning; not in those of Celery's ``beat_schedule``."""

    def __post_init__(self) -> None:
        if problem := next(_problems(self), None):
            raise DeclarationError(f"schedule {self.name!r}: {problem}")

    @property
    def zone(self) -> ZoneInfo:
        """Its time zone; UTC unless it or its deployment names another."""
        return zone_of(self.timezone or "UTC")

    def after(self, instant: datetime) -> datetime | None:
        """The first planned time after an instant, within its bounds; days that are excluded are planned, and skipped.

        Returns:
            In UTC; None when there is none any more.
        """
        if self.start and instant < self.start:
            instant = self.start - timedelta(microseconds=1)
        following = self.when.after(instant.astimezone(UTC), self.zone, self.dst)
        return None if following is None or (self.end and following > self.end) else following

    def due(self, planned: datetime) -> datetime:
        """When a planned time is acted upon: later by its part of the jitter, which all schedulers agree on."""
        if not self.jitter:
            return planned
        digest = hashlib.blake2b(f"{self.name} {planned.astimezone(UTC).isoformat()}".encode(), digest_size=8).digest()
        return planned + timedelta(seconds=int.from_bytes(digest) / 2**64 * self.jitter)

    def is_excluded(self, planned: datetime) -> bool:
        """Whether it falls on one of the days that are left out."""
        return bool(self.exclude) and planned.astimezone(self.zone).date() in self.exclude

    def arguments(self, planned: datetime, previous: datetime | None) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of the job of one fire."""
        if not self.is_template:
            return list(self.args), dict(self.kwargs)
        times = FireTimes.of(planned, previous, self.zone)
        return filled(list(self.args), times), filled(dict(self.kwargs), times)

    def in_zone(self, name: str) -> Schedule:
        """The same with this zone, unless it has named its own."""
        return self if self.timezone else replace(self, timezone=name)

    def problem(self) -> str | None:
        """Why this schedule cannot start its task, or None. Of tasks that are not declared here nothing is known."""
        try:
            if self.is_template:
                check_places([self.args, self.kwargs])
            args, kwargs = self.arguments(datetime.now(UTC), None)
            if declared := declared_tasks().get(self.task):
                declared.read(tuple(args), kwargs)
            encode_arguments(self.task, args, kwargs, MAX_ARGUMENT_BYTES)
        except (ArgumentError, ValueError) as error:
            return f"schedule {self.name!r}: {error}"
        return None

    def words(self) -> dict[str, Any]:
        """Itself as JSON values, without its name; what is as usual is left out."""
        words: dict[str, Any] = {"task": self.task, "when": self.when.words()}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in ("name", "task", "when") and value != _USUAL[each.name]:
                words[each.name] = _as_json_gives_it(value) if each.name in _OF_THE_CALL else _word(value)
        return words

    @classmethod
    def of(cls, name: str, words: Mapping[str, Any]) -> Schedule:
        """The schedule that :meth:`words` has made words of.

        Raises:
            DeclarationError: they describe none of this version.
        """
        try:
            values = {**words, "when": when_of(words["when"])}
            values |= {each: datetime.fromisoformat(values[each]) for each in ("start", "end") if each in values}
            values |= {each: tuple(values[each]) for each in ("args", "tags") if each in values}
            if "exclude" in values:
                values["exclude"] = tuple(date.fromisoformat(day) for day in values["exclude"])
            if isinstance(values.get("catch_up"), (int, float)):
                values["catch_up"] = timedelta(seconds=values["catch_up"])
            return cls(name=name, **values)
        except Exception as error:  # Nobody knows what another version has written.
            raise DeclarationError(f"schedule {name!r} cannot be read by this version ({error!r})") from None


def schedule(
    name: str,
    call: BoundCall[Any] | Signature[Any] | Task[[], Any],
    when: When,
    *,
    timezone: str | None = None,
    dst: Dst = "cron",
    overlap: Overlap = "skip",
    catch_up: CatchUp = "latest",
    jitter: float = 0.0,
    start: datetime | None = None,
    end: datetime | None = None,
    max_fires: int | None = None,
    exclude: Iterable[date] = (),
    pause_after_failures: int | None = None,
    tags: Iterable[str] = (),
    on_missed: Task[[str, list[str], str], Any] | None = None,
) -> Schedule:
    """Declares when a task starts: ``schedule("nightly sales", nightly.bind(days=1), Cron("0 2 * * *"))``.

    Args:
        name: unique in the ledger; jobs carry it.
        call: ``task.bind(...)``, with ``task.options(...)`` before it for another queue, priority or expiry; or a task
            without arguments; or a signature of Celery's. Texts in arguments may say ``{fire_time}`` and
            ``{previous_fire_time}``, with a format of strftime's: ``{fire_time:%Y-%m-%d}``.
        when: Cron, Every, Calendar, At, or a schedule object of Celery's in :class:`~penstock.scheduler.Foreign`.
        timezone: name of a zone; the deployment's if absent.
        dst: what becomes of local times that come never or twice, see ``Dst`` in ``timetables.timing``.
        overlap: what a fire does while a job of this schedule has not ended, see :data:`Overlap`.
        catch_up: which fires start late when no scheduler was up in time, see :data:`CatchUp`. The first minute is not
            late.
        jitter: seconds over which the starts are spread; a fire keeps its planned time.
        start, end: with a zone; no fire is planned before or after.
        max_fires: after so many jobs the schedule is over.
        exclude: days, in the schedule's zone, on which fires are skipped.
        pause_after_failures: after so many failed jobs in a row it pauses itself, and says so in its note.
        tags: words to find it by, and its jobs.
        on_missed: a task that is enqueued, once for all fires that were missed together, with the name of the schedule,
            the list of the planned times in ISO 8601, and the reason.

    Raises:
        DeclarationError: something is out of its bounds, or arguments do not fit the task.
    """
    made = Schedule(
        name=name,
        when=when,
        timezone=timezone,
        dst=dst,
        overlap=overlap,
        catch_up=catch_up,
        jitter=jitter,
        start=start,
        end=end,
        max_fires=max_fires,
        exclude=tuple(exclude),
        pause_after_failures=pause_after_failures,
        tags=tagging.given(tags),
        on_missed=on_missed.name if on_missed else None,
        **_call(name, call),
    )
    if problem := made.problem():
        raise DeclarationError(problem)
    return made


def _call(name: str, call: Any) -> dict[str, Any]:
    if isinstance(call, Task):
        call = call.bind()
    if isinstance(call, BoundCall):
        if call.options.delay or call.options.at:
            raise DeclarationError(f"schedule {name!r}: when says when; give the call no delay and no at")
        given = {option: getattr(call.options, option) for option in CARRIED}
        usual = call.task.defaults
        options = {option: value for option, value in given.items() if value != getattr(usual, option)}
        args, kwargs = _written(name, call)
        return {"task": call.task.name, "args": args, "kwargs": kwargs, "options": options}
    if isinstance(call, Mapping) and isinstance(call.get("task"), str):
        if call.get("subtask_type") or (call.get("options") or {}).keys() & {"link", "link_error", "chord"}:
            raise DeclarationError(f"schedule {name!r}: a workflow cannot be scheduled; schedule a task that starts it")
        options = {option: value for option, value in (call["options"] or {}).items() if value is not None}
        return {"task": call["task"], "args": tuple(call["args"]), "kwargs": dict(call["kwargs"]), "options": options}
    raise DeclarationError(f"schedule {name!r}: {call!r} is no call; give task.bind(...) or a Celery signature")


def _written(name: str, call: BoundCall[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    try:
        return call.task.written(call.args, call.kwargs)
    except ArgumentError as error:
        raise DeclarationError(f"schedule {name!r}: {error}") from None


def _problems(given: Schedule) -> Iterator[str]:
    if not (isinstance(given.name, str) and given.name.strip() == given.name and given.name.isprintable()):
        yield "a name is a text without spaces at its ends"
    if not 0 < len(str(given.name)) <= MAX_NAME:
        yield f"a name has 1 to {MAX_NAME} characters"
    if not callable(getattr(given.when, "after", None)):
        yield f"when={given.when!r}: give Cron(...), Every(...), Calendar(...), At(...) or Foreign(...)"
    yield from _problems_of_choices(given)
    yield from _problems_of_times(given)
    for what, number in (("max_fires", given.max_fires), ("pause_after_failures", given.pause_after_failures)):
        if number is not None and not (type(number) is int and number >= 1):
            yield f"{what}={number!r}: a whole number, 1 or more"
    if problem := tagging.problem_of(given.tags):
        yield problem


def _problems_of_choices(given: Schedule) -> Iterator[str]:
    if given.timezone is not None:
        try:
            zone_of(given.timezone)
        except DeclarationError as error:
            yield str(error)
    if given.dst not in get_args(Dst):
        yield f"dst={given.dst!r}: one of {', '.join(get_args(Dst))}"
    if given.overlap not in get_args(Overlap):
        yield f"overlap={given.overlap!r}: one of {', '.join(get_args(Overlap))}"
    if isinstance(given.catch_up, timedelta):
        if given.catch_up <= timedelta(0):
            yield f"catch_up={given.catch_up!r}: more than 0"
    elif given.catch_up not in ("none", "latest", "all"):
        yield f"catch_up={given.catch_up!r}: none, latest, all, or a timedelta"


def _problems_of_times(given: Schedule) -> Iterator[str]:
    is_number = isinstance(given.jitter, (int, float)) and not isinstance(given.jitter, bool)
    if not (is_number and 0 <= given.jitter <= MAX_JITTER):
        yield f"jitter={given.jitter!r}: seconds, from 0 to {MAX_JITTER}"
    for what, moment in (("start", given.start), ("end", given.end)):
        if moment is not None and (not isinstance(moment, datetime) or moment.tzinfo is None):
            yield f"{what}={moment!r}: give it a time zone, e.g. datetime(..., tzinfo=UTC)"
            return
    if given.start and given.end and given.end <= given.start:
        yield f"it ends at {given.end} and starts at {given.start}, which is not before"
    if len(given.exclude) > MAX_EXCLUDED or not all(type(day) is date for day in given.exclude):
        yield f"exclude={given.exclude!r}: at most {MAX_EXCLUDED} dates"


def _word(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return [_word(each) for each in value] if isinstance(value, tuple) else value


def _as_json_gives_it(value: Any) -> Any:
    """So that what is declared again looks as what was stored. Objects that only kombu can write are left to it."""
    if isinstance(value, Mapping):
        words = {name if isinstance(name, str) else json.dumps(name): each for name, each in value.items()}
        return {name: _as_json_gives_it(each) for name, each in words.items()}
    return [_as_json_gives_it(each) for each in value] if isinstance(value, (list, tuple)) else value


_OF_THE_CALL = ("args", "kwargs", "options")
_USUAL: dict[str, Any] = {
    each.name: each.default_factory() if callable(each.default_factory) else each.default for each in fields(Schedule)
}


def timetable(*modules: Iterable[Schedule]) -> tuple[Schedule, ...]:
    """All schedules of a deployment in one list.

    Raises:
        DeclarationError: two have the same name.
    """
    schedules = tuple(each for module in modules for each in module)
    twice = sorted(name for name, count in Counter(each.name for each in schedules).items() if count > 1)
    if twice:
        raise DeclarationError("; ".join(f"schedule {name!r} is declared twice" for name in twice))
    return schedules
