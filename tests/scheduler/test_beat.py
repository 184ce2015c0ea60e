"""Celery's interface to it: what `celery beat` and `worker -B` call."""

import threading
from collections.abc import Iterator
from typing import Any

import celery
import pytest
from celery.beat import EmbeddedService, Service

from penstock import adopt
from penstock.adoption import SCHEDULER
from penstock.errors import DeclarationError, PenstockError
from penstock.ledger.backend import ledger_url
from penstock.scheduler.beat import Scheduler
from tests.live import wait_for
from tests.scheduler.ground import NAME, Ground, sums


@pytest.fixture
def service(ground: Ground) -> Iterator[Service]:
    """As `celery beat` makes it."""
    ground.app.schedules = (sums(),)
    made = Service(ground.app, scheduler_cls=ground.app.conf.beat_scheduler, schedule_filename="/nowhere/at/all")
    yield made
    made.sync()


def test_an_application_of_ours_has_it(ground: Ground) -> None:
    assert ground.app.conf.beat_scheduler == SCHEDULER


def test_an_adopted_application_with_a_ledger_has_it(ground: Ground) -> None:
    app = adopt(celery.Celery("adopted", set_as_current=False), ledger=ground.url)
    assert app.conf.beat_scheduler == SCHEDULER
    assert ledger_url(app) == ground.url


def test_an_adopted_application_without_a_ledger_keeps_celerys() -> None:
    app = adopt(celery.Celery("adopted", set_as_current=False))
    assert app.conf.beat_scheduler == "celery.beat:PersistentScheduler"


def test_celerys_service_makes_it_and_a_tick_is_a_turn(ground: Ground, service: Service) -> None:
    assert isinstance(service.scheduler, Scheduler)
    assert service.scheduler.tick() == 0.0
    assert ground.names == [NAME]


def test_what_is_due_fires_with_a_tick(ground: Ground, service: Service) -> None:
    ground.add(ground.sums("due"))
    service.scheduler.tick()
    assert ground.states("due") == ["fired"]


def test_it_writes_no_file(service: Service) -> None:
    service.scheduler.tick()
    assert not service.scheduler.should_sync()
    service.scheduler.sync()


def test_it_has_no_entries_of_celerys_and_says_where_they_are(service: Service) -> None:
    assert service.scheduler.schedule == {}
    assert service.scheduler.info == "    . schedules -> rows of the ledger"


def test_it_is_closed_as_often_as_celery_likes(ground: Ground, service: Service) -> None:
    service.scheduler.tick()
    for _ in range(3):
        service.scheduler.close()
    assert ground.changes.beats() == []


def test_the_banner_is_made_without_connecting_to_anything(ground: Ground) -> None:
    """Celery makes one that it only asks for this."""
    lazy: Any = Service(ground.app, scheduler_cls=SCHEDULER).get_scheduler(lazy=True)
    assert "rows of the ledger" in lazy.info
    lazy.close()


def test_an_application_without_a_ledger_is_told_what_to_do() -> None:
    app = celery.Celery("plain", broker="redis://127.0.0.1:1/0", set_as_current=False)
    with pytest.raises(PenstockError, match=r"give it one \(penstock\.adopt\(app, ledger=…\)\), or set beat_scheduler"):
        Scheduler(app)


@pytest.mark.parametrize("backend", ["redis://127.0.0.1:1/0", "cache+memory://", None])
def test_results_that_are_elsewhere_are_no_ledger(backend: str | None) -> None:
    assert ledger_url(celery.Celery("plain", backend=backend, set_as_current=False)) is None


def test_a_backend_that_cannot_be_loaded_is_no_ledger() -> None:
    assert ledger_url(celery.Celery("plain", backend="nowhere.at:All", set_as_current=False)) is None


def test_the_ledgers_address_comes_with_its_password() -> None:
    app = adopt(celery.Celery("adopted", set_as_current=False), ledger="postgresql+psycopg://ada:secret@127.0.0.1:1/x")
    assert ledger_url(app) == "postgresql+psycopg://ada:secret@127.0.0.1:1/x"


def test_a_schedule_that_makes_no_sense_stops_it_at_its_start(ground: Ground) -> None:
    ground.app.conf.beat_schedule = {"bad": {"task": "legacy", "schedule": "hourly"}}
    with pytest.raises(DeclarationError, match="'bad'"):
        Scheduler(ground.app)


def test_the_entries_of_beat_schedule_come_into_the_ledger(ground: Ground, service: Service) -> None:
    ground.app.conf.beat_schedule = {"theirs": {"task": "legacy", "schedule": 60}}
    service.scheduler.tick()
    assert ground.names == [NAME, "theirs"]


def test_it_runs_in_a_thread_of_a_worker(ground: Ground) -> None:
    ground.app.schedules = (sums(),)
    embedded: Any = EmbeddedService(ground.app, thread=True, scheduler_cls=SCHEDULER)
    embedded.start()
    wait_for(lambda: ground.names == [NAME], "it is at work")
    embedded.stop()
    embedded.join(10)
    assert not embedded.is_alive()
    assert ground.changes.beats() == []


def test_celerys_service_ends_within_a_moment(ground: Ground, service: Service) -> None:
    thread = threading.Thread(target=service.start)
    thread.start()
    wait_for(lambda: ground.names == [NAME], "it is at work")
    service.stop(wait=True)
    thread.join(5)
    assert not thread.is_alive()
