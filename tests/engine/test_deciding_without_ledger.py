"""What a body decides where results go to another backend of Celery's."""

from collections.abc import Iterator

import pytest
from celery import Celery
from celery.app.trace import build_tracer
from celery.exceptions import TaskRevokedError

import penstock
from penstock import Discard, Snooze
from tests.engine.station import Station
from tests.live import wait_for


@pytest.fixture(scope="module")
def app(station: Station) -> Iterator[Celery]:
    """A producer whose worker runs, with results in Redis."""
    changes = {"result_backend": station.server.url}
    adopted = station.adopted(**changes)
    with station.worker(**changes):
        yield adopted
    adopted.close()


def test_a_snooze_starts_again_and_costs_no_attempt(app: Celery) -> None:
    words = ("snooze", "fail", "snooze", "snooze")
    assert app.tasks["engine.turns"].apply_async(words).get(timeout=20) == 2


def test_a_job_that_is_discarded_fails_with_what_it_says(app: Celery) -> None:
    result = app.tasks["engine.decides"].apply_async(("discard", "no such user"))
    with pytest.raises(Discard, match="no such user"):
        result.get(timeout=20)


def test_a_job_that_cancels_itself_is_revoked(app: Celery, station: Station) -> None:
    result = app.tasks["engine.decides"].apply_async(("cancel", "not wanted"))
    with pytest.raises(TaskRevokedError, match="not wanted"):
        result.get(timeout=20)
    wait_for(station.quiet, "its claim has ended")
    assert len(station.starts(result.id)) == 1


def test_a_snooze_that_the_broker_does_not_take_goes_back_to_its_queue() -> None:
    nowhere = penstock.adopt(Celery(set_as_current=False, broker="redis://127.0.0.1:1", task_publish_retry=False))

    @nowhere.task(name="engine.nowhere")
    def rest() -> None:
        raise Snooze(60)

    twin = nowhere.tasks["engine.nowhere"]
    told = {"id": "1", "task": twin.name, "delivery_info": {"exchange": "", "routing_key": "celery"}, "retries": 0}
    _, info, *_ = build_tracer(twin.name, twin, app=nowhere)("1", (), {}, told)
    assert (info.state, info.retval.requeue) == ("REJECTED", True)
