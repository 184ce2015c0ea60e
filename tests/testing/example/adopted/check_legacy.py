"""Plain Celery tasks under the kit."""

from pathlib import Path

import pytest
from celery import chain
from legacy.tasks import price, ship, stubborn

from penstock.testing import Jobs


def test_a_shared_task_is_seen(jobs: Jobs) -> None:
    ship.delay(250, order="A7")
    jobs.assert_enqueued(ship, cents=250, order="A7", queue="parcels")
    jobs.assert_enqueued("legacy.tasks.ship", count=1)
    jobs.assert_not_enqueued(price)


def test_a_bound_task_is_seen_by_its_own_parameters(jobs: Jobs) -> None:
    stubborn.apply_async((2,), countdown=90)
    jobs.assert_enqueued(stubborn, times=2, delay=90)


def test_a_canvas_runs_inline(jobs: Jobs, books: Path) -> None:
    with jobs.inline():
        result = chain(price.s([100, 150]), ship.s("A7")).apply_async()
        assert result.get(timeout=1) == {"order": "A7", "paid": 250}
    assert books.read_text() == "shipped A7\n"


def test_a_drain_runs_what_follows(jobs: Jobs, books: Path) -> None:
    result = chain(price.s([100, 150]), ship.s("A7")).apply_async()
    assert [attempt.task for attempt in jobs.drain(raises=True).succeeded] == [price.name, ship.name]
    assert result.get(timeout=1) == {"order": "A7", "paid": 250}


def test_a_queue_of_a_route_may_be_empty(jobs: Jobs) -> None:
    assert not jobs.drain("parcels").attempts
    with pytest.raises(ValueError, match=r"'parcel'.*did you mean 'parcels'\?"):
        jobs.drain("parcel")


def test_a_retry_has_its_pause_noted(jobs: Jobs) -> None:
    with jobs.inline():
        assert stubborn.delay(2).get(timeout=1) == 2
    assert [attempt.pause for attempt in jobs.attempts] == [30, 30, None]
