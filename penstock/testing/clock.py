"""The time of a test: schedules fire, delays end and retries become due when it is moved.

It is the real time plus a number of seconds, and goes on by itself. Moved are the database's clock as the scheduler
asks for it, the time from which the client and an adopted app count delays, expiries and deadlines, the time that these
are compared with, and the time up to which what is parked in Redis is due. Not moved are the columns of the ledger,
leases and other times to live in Redis, and ``datetime.now()`` in your own code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from penstock.client import Job

if TYPE_CHECKING:
    from penstock.scheduler import Schedule
    from penstock.testing.jobs import Jobs
    from penstock.testing.scheduling import Scheduling


@dataclass(frozen=True)
class Fire:
    """What has become of one planned time of a schedule.

    Attributes:
        schedule: its name.
        planned_at: the time, as clocks of the schedule's zone show it.
        state: ``fired``, ``waiting`` (for the job before it), ``skipped`` or ``missed``.
        reason: why, unless it has fired.
        job: what it has started.
    """

    schedule: str
    planned_at: datetime
    state: str
    reason: str | None = None
    job: Job[Any] | None = None


class Clock:
    """Stands at the real time until it is moved. Schedules begin with the first move, as with a new deployment."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._stack = ExitStack()
        self._scheduling: Scheduling | None = None
        self._schedules: tuple[Schedule, ...] | None = None
        self._is_patched = False
        self.ahead = 0.0
        """Seconds by which it is ahead of the real time."""

    def now(self) -> datetime:
        """The time of the test, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def use(self, *schedules: Schedule) -> None:
        """Has the test go by these schedules, in place of those that the app declares.

        Raises:
            RuntimeError: the clock has been moved.
        """
        self._insist_on_the_beginning("use")
        self._schedules = schedules

    def start_at(self, moment: datetime) -> None:
        """Sets the time at which the test begins, in the past or the future. Nothing fires.

        Args:
            moment: with a time zone.

        Raises:
            RuntimeError: the clock has been moved.
        """
        self._insist_on_the_beginning("start_at")
        self._set(moment)

    def advance(
        self,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        drain: bool = False,
    ) -> list[Fire]:
        """Lets time pass while a scheduler is at work, which decides at each time that is due.

        Args:
            days, hours, minutes, seconds: how much; a day is 24 hours whatever clocks show.
            drain: workers are at work as well: jobs run as soon as they are due. Otherwise nobody runs any, so that
                fires of a schedule meet a job that has not ended.

        Returns:
            What was decided meanwhile, by planned time.

        Raises:
            ValueError: it is less than nothing. Nothing at all is fine: what is due by now is decided on.
        """
        return self._move(self._after(days, hours, minutes, seconds), drain)

    def move_to(self, moment: datetime, *, drain: bool = False) -> list[Fire]:
        """As :meth:`advance`, up to a time.

        Args:
            moment: with a time zone.

        Raises:
            ValueError: it has no time zone, or lies in the past of the test.
        """
        if moment.tzinfo is None or moment < self.now():
            raise ValueError(f"{moment.isoformat()}: a time with a zone, after the test's {self.now().isoformat()}")
        return self._move(moment, drain)

    def outage(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0, drain: bool = False
    ) -> list[Fire]:
        """Lets time pass while no scheduler and no worker is at work; then they come back, and catch up.

        Args:
            days, hours, minutes, seconds, drain: as of :meth:`advance`.

        Returns:
            What was decided when they were back.

        Raises:
            ValueError: as of :meth:`advance`.
        """
        moment = self._after(days, hours, minutes, seconds)
        scheduling = self._begun()
        before = scheduling.known()
        self._go_on(scheduling, moment, drain)
        return scheduling.news(before)

    def fires(self, schedule: str | None = None) -> list[Fire]:
        """Everything that was decided in this test, by planned time.

        Args:
            schedule: of this name only.
        """
        fires = self._begun().news({})
        return [fire for fire in fires if schedule in (None, fire.schedule)]

    def stop(self) -> None:
        """Everything goes by the real time again."""
        self._stack.close()
        self.ahead = 0.0

    # -- moving ---------------------------------------------------------------------------------------------------

    def _insist_on_the_beginning(self, verb: str) -> None:
        if self._scheduling is not None:
            raise RuntimeError(f"clock.{verb}() comes before the clock is moved: schedules have begun by now")

    def _after(self, days: float, hours: float, minutes: float, seconds: float) -> datetime:
        duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if duration < timedelta(0):
            raise ValueError(f"{duration.total_seconds():g} s: time only goes on")
        return self.now() + duration

    def _move(self, moment: datetime, drain: bool) -> list[Fire]:
        scheduling = self._begun()
        before = scheduling.known()
        for step in scheduling.steps(moment, with_jobs=drain):
            self._go_on(scheduling, step, drain)
        self._go_on(scheduling, moment, drain)
        return scheduling.news(before)

    def _go_on(self, scheduling: Scheduling, moment: datetime, drain: bool) -> None:
        """To a time, unless it is later by now, and has what is due then done."""
        self._set(max(moment, self.now()))
        scheduling.turn()
        while drain and self._jobs.drain().attempts:
            scheduling.turn()  # It hears of the ends of jobs, and starts what has waited for them.

    def _set(self, moment: datetime) -> None:
        if moment.tzinfo is None:
            raise ValueError(f"{moment!r}: give it a time zone, e.g. datetime(..., tzinfo=UTC)")
        if not self._is_patched:
            self._stack.enter_context(moved(self._jobs.app, self.now))
            self._is_patched = True
        self.ahead = (moment - datetime.now(UTC)).total_seconds()

    def _begun(self) -> Scheduling:
        from penstock.testing.scheduling import Scheduling

        if self._scheduling is None:
            self._set(self.now())
            self._scheduling = Scheduling(self._jobs.app, self._jobs.bench, self._schedules)
            self._stack.callback(self._scheduling.end)
            self._scheduling.begin()
            self._scheduling.turn()  # Those whose timetable somebody else has written are asked for their first time.
        return self._scheduling


class _EveryDatetime(type):
    """Whoever asks whether something is a time means every ``datetime``."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, datetime)


@contextmanager
def moved(app: Any, now: Callable[[], datetime]) -> Iterator[None]:
    """Inside of the block the library goes by another clock, in this process."""
    from celery.worker import request

    from penstock import app as twins
    from penstock import expiry, retry_after, retrying
    from penstock.broker import transport
    from penstock.client import bulk, one
    from penstock.engine import amqp
    from penstock.ledger import schedules

    class Moved(datetime, metaclass=_EveryDatetime):
        """``datetime`` as those read the time who say when a job is due, and until when it may start."""

        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            """The test's."""
            moment = now().astimezone(tz)
            return moment if tz else moment.replace(tzinfo=None)

    readers = (one, bulk, amqp, transport, twins, retrying, retry_after, expiry, request)
    places: tuple[tuple[Any, str, Any], ...] = (
        (schedules, "clock", lambda _: now()),
        (schedules, "begin", _beginning(schedules.begin, now)),
        *((module, "datetime", Moved) for module in readers),
    )
    former = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    for owner, name, replacement in places:
        setattr(owner, name, replacement)
    app.now = lambda: now().astimezone(app.timezone)
    try:
        yield
    finally:
        for owner, name, original in former:
            setattr(owner, name, original)
        del app.now


def _beginning(original: Callable[[Any], datetime], now: Callable[[], datetime]) -> Callable[[Any], datetime]:
    def begin(connection: Any) -> datetime:
        original(connection)
        return now()

    return begin
