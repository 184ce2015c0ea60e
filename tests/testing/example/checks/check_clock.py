"""Schedules, delays and retries under the clock of the test."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import crontab
from shop import tasks
from shop.tasks import BankBusy, Order, charge, report, welcome

from penstock import State
from penstock.scheduler import At, Cron, Every, Foreign, schedule
from penstock.testing import Jobs

BERLIN = ZoneInfo("Europe/Berlin")
Lines = Callable[[], list[str]]


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


def test_a_retry_is_due_when_its_pause_is_over(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([BankBusy(), BankBusy(), None])

    def ask(order: Order) -> None:
        if error := next(answers):
            raise error

    monkeypatch.setattr(tasks, "ask_bank", ask)
    jobs.clock.use()
    job = charge.enqueue(Order(1, 250))
    assert len(jobs.drain().retried) == 1
    assert not jobs.drain().attempts
    jobs.clock.advance(seconds=11)
    assert len(jobs.drain().retried) == 1
    jobs.clock.advance(seconds=21, drain=True)
    assert job.result(0) == 250


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


def test_time_does_not_go_back(jobs: Jobs) -> None:
    jobs.clock.advance(days=1)
    with pytest.raises(ValueError, match="after the test's"):
        jobs.clock.move_to(datetime.now(UTC))
    with pytest.raises(RuntimeError, match="before the clock is moved"):
        jobs.clock.start_at(datetime.now(UTC))


def test_another_test_begins_at_the_real_time(jobs: Jobs) -> None:
    assert abs(jobs.clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    welcome.options(delay=3600).enqueue(7)
    jobs.assert_enqueued(welcome, at=datetime.now(UTC) + timedelta(hours=1))
