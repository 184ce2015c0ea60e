"""Schedules, delays and retries under the clock of the test."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import crontab
from shop import tasks
from shop.tasks import BankBusy, Order, charge, charge_soon, report, welcome
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from penstock import JobFailed, Snooze, State, enqueue_many, task
from penstock.scheduler import At, Cron, Every, Foreign, schedule
from penstock.testing import Jobs

BERLIN = ZoneInfo("Europe/Berlin")
Lines = Callable[[], list[str]]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What the bank raises at its next calls; it answers at those that follow."""
    given: list[Exception] = []

    def ask(order: Order) -> None:
        if given:
            raise given.pop(0)

    monkeypatch.setattr(tasks, "ask_bank", ask)
    return given


def enqueue_in_all_ways(jobs: Jobs) -> Iterator[str]:
    """Ids of jobs that were enqueued by each way that stamps the time of it."""
    twin = jobs.app.tasks[charge_soon.name]
    yield charge_soon.enqueue(1).id
    yield from (job.id for job in enqueue_many([charge_soon.bind(2)]))
    yield twin.delay(3).id
    with jobs.app.connection_for_write() as connection, connection.Producer() as producer:
        yield twin.apply_async((4,), producer=producer).id
    engine = create_engine(jobs.database_url)
    with Session(engine) as session, session.begin():
        yield charge_soon.options(session=session).enqueue(5).id
    engine.dispose()


def test_a_day_has_the_fires_of_a_day(jobs: Jobs) -> None:
    jobs.clock.start_at(datetime(2027, 5, 1, 12, tzinfo=BERLIN))
    fires = jobs.clock.advance(days=1)
    assert [(fire.schedule, fire.planned_at.strftime("%d. %H:%M")) for fire in fires if fire.state == "fired"] == [
        ("stock", "01. 12:00"),
        ("nightly", "02. 02:30"),
    ]
    job = jobs.assert_enqueued(report, kind="sales of 02.05.")
    (nightly,) = jobs.clock.fires("nightly")
    assert nightly.job is not None
    assert (job.schedule, job.id) == ("nightly", nightly.job.id)


def test_without_workers_a_fire_meets_the_job_before_it(jobs: Jobs) -> None:
    jobs.clock.start_at(datetime(2027, 5, 1, 12, tzinfo=UTC))
    states = [(fire.state, fire.reason) for fire in jobs.clock.advance(hours=12) if fire.schedule == "stock"]
    assert [state for state, _ in states] == ["fired", "skipped"]


def test_with_workers_each_fire_has_its_job(jobs: Jobs, lines: Lines) -> None:
    jobs.clock.use(schedule("stock", report.bind("stock"), Every(6 * 3600)))
    fires = jobs.clock.advance(days=1, drain=True)
    assert [fire.state for fire in fires] == ["fired"] * 4
    assert lines() == ["report stock"] * 4
    assert [fire.job.refresh().state for fire in fires if fire.job] == [State.SUCCEEDED] * 4


def test_after_an_outage_the_schedule_catches_up_as_it_says(jobs: Jobs) -> None:
    jobs.clock.use(
        schedule("latest", report.bind("a"), Every(3600)),
        schedule("all", report.bind("b"), Every(3600), catch_up="all", overlap="allow"),
        schedule("none", report.bind("c"), Every(3600), catch_up="none"),
    )
    jobs.clock.start_at(datetime(2027, 5, 1, 12, 30, tzinfo=UTC))
    jobs.clock.outage(hours=3)

    def states(name: str) -> list[str]:
        return [fire.state for fire in jobs.clock.fires(name)]

    assert states("latest") == ["missed", "missed", "fired"]
    assert states("all") == ["fired"] * 3
    assert states("none") == ["missed"] * 3


def test_a_night_that_loses_an_hour_still_has_its_fire(jobs: Jobs) -> None:
    jobs.clock.use(schedule("nightly", report.bind("a"), Cron("30 2 * * *"), timezone="Europe/Berlin"))
    jobs.clock.start_at(datetime(2027, 3, 27, 12, tzinfo=BERLIN))
    (fire,) = jobs.clock.advance(days=1)
    assert fire.planned_at.isoformat() == "2027-03-28T03:00:00+02:00"


def test_a_night_that_has_an_hour_twice_has_one(jobs: Jobs) -> None:
    jobs.clock.use(schedule("nightly", report.bind("a"), Cron("30 2 * * *"), timezone="Europe/Berlin"))
    jobs.clock.start_at(datetime(2027, 10, 30, 12, tzinfo=BERLIN))
    assert len(jobs.clock.advance(days=1)) == 1


def test_schedule_objects_of_celery_are_asked(jobs: Jobs) -> None:
    jobs.clock.use(schedule("hourly", report.bind("a"), Foreign(crontab(minute="0")), overlap="allow"))
    jobs.clock.start_at(datetime(2027, 5, 1, 12, 30, tzinfo=UTC))
    assert [fire.planned_at.hour for fire in jobs.clock.advance(hours=2)] == [13, 14]


def test_a_job_with_a_delay_is_due_when_its_time_has_come(jobs: Jobs) -> None:
    jobs.clock.use()  # No schedule, or one may fire in this hour.
    job = welcome.options(delay=3600).enqueue(7)
    assert not jobs.drain().attempts
    jobs.clock.advance(minutes=59)
    assert not jobs.drain().attempts
    jobs.clock.advance(minutes=2)
    assert len(jobs.drain().succeeded) == 1
    assert job.result(0) == "default to 7"


def test_delays_count_from_the_time_of_the_test(jobs: Jobs) -> None:
    jobs.clock.use()
    jobs.clock.advance(days=3)
    welcome.options(delay=60).enqueue(1)
    jobs.app.tasks[welcome.name].apply_async((2,), countdown=60)
    assert not jobs.drain().attempts
    jobs.clock.advance(seconds=61)
    assert len(jobs.drain().succeeded) == 2


def test_delays_count_in_the_past_as_well(jobs: Jobs) -> None:
    jobs.clock.use()
    jobs.clock.start_at(datetime(2020, 2, 29, tzinfo=UTC))
    welcome.options(delay=60).enqueue(1)
    assert not jobs.drain(timeout=5).attempts
    jobs.clock.advance(seconds=61)
    assert len(jobs.drain(timeout=5).succeeded) == 1


def test_a_retry_is_due_when_its_pause_is_over(jobs: Jobs, answers: list[Exception]) -> None:
    answers += [BankBusy(), BankBusy()]
    jobs.clock.use()
    job = charge.enqueue(Order(1, 250))
    assert len(jobs.drain().retried) == 1
    assert not jobs.drain().attempts
    jobs.clock.advance(seconds=11)
    assert len(jobs.drain().retried) == 1
    jobs.clock.advance(seconds=21, drain=True)
    assert job.result(0) == 250


@pytest.mark.parametrize("days", [-400, 3])
def test_a_deadline_counts_from_the_time_of_the_test(jobs: Jobs, answers: list[Exception], days: int) -> None:
    jobs.clock.use()
    jobs.clock.start_at(datetime.now(UTC) + timedelta(days=days))
    ids = list(enqueue_in_all_ways(jobs))
    answers += [BankBusy()] * 2 * len(ids)
    jobs.clock.advance(seconds=500)
    assert sorted(attempt.id for attempt in jobs.drain().retried) == sorted(ids)
    jobs.clock.advance(seconds=61)
    failed = jobs.drain().failed
    assert sorted(attempt.id for attempt in failed) == sorted(ids)
    for job in jobs.enqueued(charge_soon):
        with pytest.raises(JobFailed) as raised:
            job.job.result(0)
        assert raised.value.reason == "deadline"


def test_a_deadline_of_a_job_with_a_delay_counts_from_its_end(jobs: Jobs, answers: list[Exception]) -> None:
    jobs.clock.use()
    jobs.clock.advance(days=3)
    charge_soon.options(delay=3600).enqueue(1)
    jobs.app.tasks[charge_soon.name].apply_async((2,), countdown=3600)
    answers += [BankBusy()] * 2
    jobs.clock.advance(seconds=3600 + 500)
    assert len(jobs.drain().retried) == 2
    jobs.clock.advance(seconds=61)
    assert len(jobs.drain().succeeded) == 2


def test_a_retry_expires_no_earlier_than_its_job(jobs: Jobs, answers: list[Exception]) -> None:
    jobs.clock.use()
    jobs.clock.advance(days=3)
    job = charge.options(expires=7200).enqueue(Order(1, 250))
    jobs.clock.advance(seconds=3600)
    answers.append(BankBusy())
    assert len(jobs.drain().retried) == 1
    jobs.clock.advance(seconds=3500, drain=True)
    assert job.result(0) == 250


def test_a_job_waits_for_a_worker_as_long_as_its_schedule_timeout_says(jobs: Jobs, answers: list[Exception]) -> None:
    jobs.clock.use()
    jobs.clock.advance(days=3)
    early = charge.options(schedule_timeout=60).enqueue(Order(1, 250))
    answers.append(BankBusy())
    jobs.clock.advance(seconds=50)
    assert len(jobs.drain().retried) == 1
    jobs.clock.advance(seconds=60)  # A retry has its pause of ten seconds, and then as long as the first attempt.
    assert [attempt.number for attempt in jobs.drain("money").succeeded] == [2]
    late = charge.options(schedule_timeout=60).enqueue(Order(2, 250))
    jobs.clock.advance(seconds=61)
    assert jobs.drain("money").cancelled == [late.id]
    assert [job.refresh().state for job in (early, late)] == [State.SUCCEEDED, State.CANCELLED]


@task(queue="mail")
def wait_until(moment: datetime) -> str:
    if WAITS:
        raise Snooze(WAITS.pop())
    return "awake"


WAITS: list[datetime] = []
"""Until when :func:`wait_until` waits; then it ends."""


def test_what_names_a_time_waits_until_that_time_of_the_test(jobs: Jobs, answers: list[Exception]) -> None:
    jobs.clock.use()
    jobs.clock.advance(days=3)
    WAITS.append(jobs.clock.now() + timedelta(seconds=600))
    busy = BankBusy()
    busy.retry_after = jobs.clock.now() + timedelta(seconds=500)  # type: ignore[attr-defined]
    answers.append(busy)
    wait_until.enqueue(WAITS[0])
    charge_soon.enqueue(1)
    assert sorted(round(attempt.pause or 0) for attempt in jobs.drain().retried) == [500, 600]
    jobs.clock.advance(seconds=590)
    assert [attempt.task for attempt in jobs.drain().succeeded] == [charge_soon.name]
    jobs.clock.advance(seconds=11)
    assert len(jobs.drain().succeeded) == 1


def test_a_job_expires_when_its_time_is_over(jobs: Jobs) -> None:
    jobs.clock.use()
    job = welcome.options(expires=60).enqueue(7)
    jobs.clock.advance(seconds=61)
    assert not jobs.drain().attempts
    assert job.refresh().state is State.CANCELLED


def test_a_schedule_of_one_time_fires_once(jobs: Jobs) -> None:
    jobs.clock.use(schedule("once", welcome.bind(7), At(datetime.now(UTC) + timedelta(days=400))))
    assert jobs.clock.advance(days=399) == []
    assert [fire.state for fire in jobs.clock.advance(days=400)] == ["fired"]
    jobs.assert_enqueued(welcome, 7, count=1)


def test_time_may_stand_still(jobs: Jobs) -> None:
    jobs.clock.use(schedule("hourly", report.bind("a"), Every(3600)))
    jobs.clock.start_at(datetime(2027, 5, 1, 12, 30, tzinfo=UTC))
    assert jobs.clock.advance(days=0) == jobs.clock.outage(hours=0) == jobs.clock.advance() == []
    assert timedelta(0) <= jobs.clock.now() - datetime(2027, 5, 1, 12, 30, tzinfo=UTC) < timedelta(seconds=60)


def test_time_does_not_go_back(jobs: Jobs) -> None:
    jobs.clock.advance(days=1)
    for move in (jobs.clock.advance, jobs.clock.outage):
        with pytest.raises(ValueError, match=r"-5400 s: time only goes on"):
            move(hours=-2, minutes=30)
    with pytest.raises(ValueError, match="after the test's"):
        jobs.clock.move_to(datetime.now(UTC))
    with pytest.raises(RuntimeError, match="before the clock is moved"):
        jobs.clock.start_at(datetime.now(UTC))


def test_another_test_begins_at_the_real_time(jobs: Jobs) -> None:
    assert abs(jobs.clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    welcome.options(delay=3600).enqueue(7)
    jobs.assert_enqueued(welcome, at=datetime.now(UTC) + timedelta(hours=1))
