"""Which job is whose, and which planned times the two sides are told."""

import json
import pickle
from datetime import UTC, datetime
from pathlib import Path

import pytest
from celery import Celery

from tests.faults import timetable
from tests.faults.effects import TICK, Effect
from tests.faults.fires import Booked, Fires, Found, Series
from tests.faults.timetable import Times, declare_schedules

KEY = "nightly"
FIRST, SECOND, THIRD = (f"{KEY} at {moment}.000" for moment in (10, 20, 30))


def found(*what: Effect | Booked, until: float = float("inf")) -> Found:
    """What is made of ticks and rows, where 10, 20 and 30 are planned."""
    fires = Fires(Path("nowhere"))
    fires.expect(Series(KEY, [10, 20, 30], until))
    fires.note(each for each in what if isinstance(each, Booked))
    return fires.found(each for each in what if isinstance(each, Effect))


def tick(at: float, job: str = "job") -> Effect:
    return Effect(TICK, 1, at, job, facts={"schedule": KEY, "wall": at})


def row(planned_at: float, job: str | None = "job", state: str = "fired", reason: str | None = None) -> Booked:
    return Booked(KEY, planned_at, state, reason, job, planned_at)


def test_a_job_belongs_to_the_latest_planned_time_before_its_start() -> None:
    assert found(tick(10.1), tick(30.0, "another")).fired == {FIRST: {"job"}, THIRD: {"another"}}


def test_two_jobs_of_a_planned_time_are_seen() -> None:
    assert found(tick(20.1), tick(20.2, "another")).fired == {SECOND: {"job", "another"}}


def test_a_second_start_of_a_job_is_no_second_job() -> None:
    assert found(tick(10.1), tick(20.1)).fired == {FIRST: {"job"}}


def test_jobs_before_and_after_what_counts_belong_to_none_and_are_judged_all_the_same() -> None:
    seen = found(tick(9), tick(40, "another"), until=40)
    assert (seen.fired, seen.jobs) == ({}, {"job", "another"})


def test_the_books_say_whose_a_late_job_is() -> None:
    assert found(row(10), tick(30.1)).fired == {FIRST: {"job"}}


def test_a_job_on_the_books_counts_before_it_has_started() -> None:
    seen = found(row(20))
    assert (seen.fired, seen.jobs) == ({SECOND: {"job"}}, {"job"})


def test_a_job_that_no_row_names_is_a_second_one() -> None:
    assert found(row(20), tick(20.1), tick(20.2, "another")).fired == {SECOND: {"job", "another"}}


def test_the_books_say_why_there_is_no_job() -> None:
    assert found(row(10, None, "missed", "nobody was up")).told == {FIRST: "nobody was up"}


def test_a_fire_that_waits_is_not_decided() -> None:
    assert found(row(10, None, "waiting", "overlap")).told == {}


def test_a_fire_that_nobody_planned_is_seen_if_it_lies_among_those_that_count() -> None:
    assert found(row(15), row(5, "early"), row(50, "late"), until=40).unplanned == {f"{KEY} at 15.000"}


def test_what_the_books_said_once_stays_while_they_do_not_answer() -> None:
    fires = Fires(Path("nowhere"))
    fires.expect(Series(KEY, [10]))
    fires.note([row(10)])
    fires.note([])
    assert fires.found([]).fired == {FIRST: {"job"}}


def test_times_are_due_as_a_crontab_is() -> None:
    def asked(last: float, now: float) -> tuple[bool, float]:
        times = Times([10, 20], nowfun=lambda: datetime.fromtimestamp(now, UTC), app=Celery())
        return tuple(times.is_due(datetime.fromtimestamp(last, UTC)))

    assert asked(5, 8) == (False, 2)
    assert asked(5, 10) == (True, 10)
    assert asked(5, 25) == (True, float("inf"))
    assert asked(10, 11) == (False, 9)
    assert asked(20, 25) == (False, float("inf"))


def test_times_go_through_the_file_of_a_beat() -> None:
    assert pickle.loads(pickle.dumps(Times([10, 20]))) == Times([10, 20])  # noqa: S301
    assert Times([10]) != Times([20])


def test_both_sides_are_told_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fires, app = Fires(tmp_path / "timetable.json"), Celery()
    monkeypatch.setenv(timetable.FILE, str(fires.file))
    plain, late = fires.declare(every=2.0), fires.declare(moments=[10.0], catch_up=1.0)
    assert declare_schedules(app) == {late: 1.0}
    assert app.conf.beat_schedule[plain] == {"task": timetable.TASK, "schedule": 2.0, "args": [plain]}
    assert app.conf.beat_schedule[late]["schedule"] == Times([10.0])
    assert [each["key"] for each in json.loads(fires.file.read_text())] == [plain, late]
    assert fires.to_come == {plain}
