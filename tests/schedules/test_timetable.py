"""The timetable of this deployment."""

import subprocess
import sys

import pytest

from penstock.scheduler import Cron, Every, Schedule
from schedules import TIMETABLE


def named(name: str) -> Schedule:
    return next(schedule for schedule in TIMETABLE if schedule.name == name)


@pytest.mark.parametrize("schedule", TIMETABLE, ids=lambda schedule: schedule.name)
def test_a_schedule_fits_its_task_and_schedulers_can_read_it(schedule: Schedule) -> None:
    assert schedule.problem() is None
    assert Schedule.of(schedule.name, schedule.words()) == schedule


def test_the_sales_report_starts_every_night_at_two() -> None:
    assert (named("nightly sales").task, named("nightly sales").when) == ("tasks.sales.nightly", Cron("0 2 * * *"))


def test_the_heart_beats_often_and_old_beats_are_swept_away() -> None:
    heartbeat, retention = named("heartbeat"), named("retention")
    assert isinstance(heartbeat.when, Every)
    assert heartbeat.when.seconds <= 10
    assert retention.kwargs == {"days_by_task": {heartbeat.task: 1}}


def test_importing_the_timetable_does_not_load_celery() -> None:
    code = "import sys, schedules; sys.exit('celery' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
