"""Tags in real workers: from the message into the row, and through what may become of a job."""

import pytest

from tests.engine import weaving
from tests.engine.station import Station
from tests.engine.test_children import ended
from tests.engine.test_lost_workers import killed_at_the_end

pytestmark = pytest.mark.slow
TAGS = ("nightly", "größe", "a\\b")


def test_a_job_keeps_its_tags_whatever_becomes_of_it(booked: Station) -> None:
    weaving.declare(booked.app)
    calls = {
        "success": ("give", (1,)),
        "failure": ("fail", (1,)),
        "retry": ("again", (1,)),
        "replaced by a task": ("becomes", ("task", 1)),
        "replaced by a chain": ("becomes", ("chain", 1)),
        "replaced by a chord": ("becomes", ("chord", 1)),
    }
    with killed_at_the_end(booked.worker(app="weaving", children=2)):
        ids = {
            how: booked.app.tasks[f"weaving.{name}"].apply_async(args, headers={"tags": list(TAGS)}).id
            for how, (name, args) in calls.items()
        }
        plain = booked.app.tasks["weaving.give"].delay(1).id
        assert {how: ended(booked, id).tags for how, id in ids.items()} == dict.fromkeys(calls, TAGS)
        assert ended(booked, plain).tags == ()


def test_a_task_that_takes_a_jobs_place_may_have_tags_of_its_own(booked: Station) -> None:
    weaving.declare(booked.app)
    with killed_at_the_end(booked.worker(app="weaving")):
        task = booked.app.tasks["weaving.becomes"]
        id = task.apply_async(("tagged", 1), headers={"tags": ["first"]}).id
        assert ended(booked, id).tags == ("own",)
