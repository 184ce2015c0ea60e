"""What a keeper does with cancelled jobs, step by step: it ends those that nobody can be running, and no others."""

import json

import pytest

from penstock.broker import breakers
from penstock.broker.scripts import Settlement, Source
from penstock.engine.keeping import cancelling
from penstock.engine.keeping.cancelling import Cancelling
from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.recorder import Recorder
from penstock.ledger.session import reading
from penstock.message import ENQUEUED_AT
from tests.outbox.ground import QUEUE, ward

WORKER = "ant@host/00000001"


class Duty:
    """The duty of a keeper, on a ledger and a broker."""

    def __init__(self, broker_url: str, database_url: str) -> None:
        self.ward = ward(broker_url, database_url)
        self.scripts = self.ward.scripts
        self.url = database_url
        self.duty = Cancelling(self.ward, database_url, lambda ends: Recorder(database_url).write(ends).verdicts)
        self.scripts.join(WORKER)

    def publish(self, *ids: str) -> None:
        for place, id in enumerate(ids):
            self.scripts.publish(f"p{place}", 1, QUEUE, 0, [(id, message(id))])

    def perform(self, *ids: str) -> list[State | None]:
        """Cancels these jobs, has the duty done, and tells what the ledger says of each."""
        self.scripts.cancel(ids, None)
        self.duty.perform()
        with reading(self.url) as connection:
            return [row.state if (row := queries.find_job(connection, id)) else None for id in ids]


def message(id: str) -> bytes:
    headers = {"id": id, "task": "t", ENQUEUED_AT: "2026-11-28T12:00:00+00:00"}
    return json.dumps({"body": "[[], {}, {}]", "headers": headers, "properties": {}}).encode()


@pytest.fixture
def duty(broker_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Duty:
    monkeypatch.setattr(cancelling, "UNCLAIMED_SECONDS", 0.0)
    return Duty(broker_url, database_url)


def hide(duty: Duty, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all messages were in the middle of a long queue."""
    monkeypatch.setattr("penstock.broker.seeking.LOOKED_AT", 1)
    duty.scripts.client.lpush(QUEUE, message("last"))
    duty.scripts.client.rpush(QUEUE, message("first"))


def test_a_job_whose_message_is_not_found_is_ended_by_its_place_in_the_index(
    duty: Duty, monkeypatch: pytest.MonkeyPatch
) -> None:
    duty.publish("one")
    hide(duty, monkeypatch)
    assert duty.perform("one") == [State.CANCELLED]
    assert duty.scripts.client.llen(QUEUE) == 3


def test_a_job_that_somebody_holds_is_left_to_him(duty: Duty, monkeypatch: pytest.MonkeyPatch) -> None:
    duty.publish("one", "two")
    duty.scripts.claim(WORKER, WORKER, 0, [Source(QUEUE, 0)], 1)
    hide(duty, monkeypatch)
    assert duty.perform("one", "two") == [None, State.CANCELLED]
    assert duty.scripts.client.hexists(duty.scripts.keys.cancelling, "one")


def test_nothing_is_ended_while_outcomes_wait_in_the_spool(duty: Duty, monkeypatch: pytest.MonkeyPatch) -> None:
    duty.publish("one")
    hide(duty, monkeypatch)
    duty.scripts.client.hset(duty.scripts.keys.spool, "name", "[]")
    assert duty.perform("one") == [None]
    duty.scripts.client.delete(duty.scripts.keys.spool)
    assert duty.perform("one") == [State.CANCELLED]


def test_a_job_that_is_nowhere_gets_no_row_and_is_forgotten_after_a_while(
    duty: Duty, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert duty.perform("nobody") == [None]
    assert duty.scripts.client.hexists(duty.scripts.keys.cancelling, "nobody")
    monkeypatch.setattr(cancelling, "FORGET_SECONDS", -1.0)
    assert duty.perform("nobody") == [None]
    assert not duty.scripts.client.exists(duty.scripts.keys.cancelling)
    assert duty.scripts.client.zscore(duty.scripts.keys.revoked, "nobody")


def test_a_job_that_a_breaker_has_put_aside_is_found_and_leaves_nothing_behind(duty: Duty) -> None:
    """Otherwise it comes forward in place of one that could tell whether the service is up."""
    scripts = duty.scripts
    duty.publish("one", "two")
    scripts.switch("t", "open", "ann", "")
    for each, id in zip(scripts.claim(WORKER, WORKER, 0, [Source(QUEUE, 0)]).messages, ("one", "two"), strict=True):
        scripts.settle([Settlement(WORKER, QUEUE, each.token, "admit", "t", id)])
    assert duty.perform("one") == [State.CANCELLED]
    assert (breakers.jobs_by_task(scripts)["t"], scripts.client.hkeys(scripts.keys.blocked)) == (1, [b"two"])
    assert duty.perform("two") == [State.CANCELLED]
    assert not scripts.client.exists(scripts.keys.broken, scripts.keys.blocked, scripts.keys.waiting(QUEUE))


def test_a_message_that_names_no_job_harms_nobody(duty: Duty) -> None:
    duty.publish("one")
    duty.scripts.client.rpush(QUEUE, b'not json, "id": "one"')
    assert duty.perform("one") == [State.CANCELLED]
    assert duty.scripts.client.lrange(QUEUE, 0, -1) == [b'not json, "id": "one"']


def test_many_requests_are_done_in_turns(duty: Duty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "SLICE", 2)
    monkeypatch.setattr(cancelling, "TURN_SECONDS", 1e-9)
    ids = [f"job-{number}" for number in range(5)]
    duty.publish(*ids)
    assert [duty.perform(*ids).count(State.CANCELLED) for _ in range(3)] == [2, 4, 5]
