"""The keeper's order of things: commit, publish, settle. With real servers, in this process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import redis
from sqlalchemy import text

from penstock.broker import census
from penstock.broker.keys import Keys
from penstock.broker.scripts import Settlement, Source
from penstock.engine.keeping.books import FREE, FULL, FULL_BYTES
from penstock.engine.keeping.outcomes import Outcomes
from penstock.engine.keeping.settle import Settle
from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.records import FollowUp, Record, Step
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.session import engine_for, reading, writing
from penstock.ledger.tables import outbox
from penstock.ledger.values import claim_token
from tests.ledger.making import CRASHED, end, start, write
from tests.live import wait_for
from tests.outbox.ground import ward

WORKER = "ant@host/0000abcd"
NEXT = FollowUp(key="next", job_id="next", task="t", queue="mail", step=0, payload=b'{"properties":{"delivery_tag":"')


class Keeping:
    """A keeper's ledger and settlements, and what they told the worker."""

    def __init__(self, broker_url: str, database_url: str) -> None:
        self.told: list[dict[str, Any]] = []
        self.url = database_url
        self.ward = replace(
            ward(broker_url, database_url, WORKER), tell=lambda **news: self.told.append(news), queues=["mail"]
        )
        self.settle = Settle(self.ward)
        self.outcomes = Outcomes(self.ward, database_url, self.settle, lambda _: None)
        self.ward.scripts.join(WORKER)
        self.redis: Any = self.ward.scripts.client
        self._base = 0

    def turn(self) -> None:
        for key, _ in self.ward.selector.select(0.02):
            key.data()
        for duty in (self.outcomes, self.settle):
            if duty.due <= time.monotonic():
                try:
                    duty.due = time.monotonic() + duty.perform()
                except redis.ResponseError:
                    duty.due = time.monotonic() + 0.05

    def until(self, condition: Callable[[], Any], what: str) -> None:
        def turned() -> Any:
            self.turn()
            return condition()

        wait_for(turned, what)

    def claim(self, job_id: str) -> Delivery:
        """A claimed message of the job."""
        raw = json.dumps({"headers": {"id": job_id}, "properties": {}, "body": ""})
        self.redis.lpush("mail", raw)
        reply = self.ward.scripts.claim(WORKER, WORKER, self._base, [Source("mail", 0)], 1)
        self._base += 1
        token = reply.messages[0].token
        return Delivery(id=job_id, task="t", queue="mail", token=claim_token(WORKER, token), worker="ant@host")

    def record(self, record: Record, number: int = 1) -> None:
        encoded = replace(
            record, delivery=record.delivery.encoded(), outcome=record.outcome.encoded() if record.outcome else None
        )
        self.outcomes.take({"record": [number, encoded.to_words()]})

    def settles(self, delivery: Delivery, verb: str = "ack", *rest: str, number: int = 2) -> None:
        token = str(delivery.token).partition(":")[2]
        self.outcomes.settle(number, list(Settlement(WORKER, "mail", token, verb, *rest)))

    @property
    def held(self) -> int:
        return int(self.redis.hlen(Keys().inflight(WORKER, "mail")))

    def confirmed(self) -> list[int]:
        return [number for news in self.told for number in news.get("confirmed", ())]

    def state(self, id: str) -> State | None:
        with reading(self.url) as connection:
            row = queries.find_job(connection, id)
        return row.state if row else None


@pytest.fixture
def keeping(broker_url: str, postgresql_url: str) -> Iterator[Keeping]:
    made = Keeping(broker_url, postgresql_url)
    yield made
    made.outcomes.close()


@contextmanager
def closed_books(url: str) -> Iterator[None]:
    """Nobody can write a job inside of the block."""
    with engine_for(url).connect() as connection:
        connection.execute(text("LOCK TABLE jobs IN SHARE ROW EXCLUSIVE MODE"))
        yield
        connection.rollback()


def someone_waits(url: str) -> bool:
    with reading(url) as connection:
        return bool(connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())


def test_a_claim_ends_after_its_outcome_is_written(keeping: Keeping) -> None:
    claim = keeping.claim("j1")
    with closed_books(keeping.url):
        keeping.record(end(claim))
        keeping.settles(claim)
        keeping.until(lambda: someone_waits(keeping.url), "the outcome waits for the books")
        keeping.turn()
        assert (keeping.held, keeping.confirmed()) == (1, [])
    keeping.until(lambda: not keeping.held, "the claim has ended")
    assert keeping.state("j1") is State.SUCCEEDED
    assert keeping.confirmed() == [1]


@pytest.mark.parametrize("comes", ["with its outcome", "when that is written"])
def test_a_job_that_has_ended_is_waiting_no_more_whenever_its_claim_ends(keeping: Keeping, comes: str) -> None:
    claim, index = keeping.claim("j1"), Keys().waiting("mail")
    keeping.redis.zadd(index, {"j1": 1})
    keeping.record(end(claim))
    if comes == "when that is written":
        keeping.until(lambda: keeping.confirmed() == [1], "it is written")
    keeping.settles(claim)
    keeping.until(lambda: not keeping.held, "the claim has ended")
    assert keeping.redis.zcard(index) == 0


def test_a_claim_of_which_nothing_was_told_ends_at_once(keeping: Keeping) -> None:
    claim = keeping.claim("j1")
    with closed_books(keeping.url):
        keeping.settles(claim)
        keeping.until(lambda: not keeping.held, "the claim has ended")


def test_what_follows_from_an_outcome_is_published_before_the_worker_may_forget_it(keeping: Keeping) -> None:
    """The next keeper gets what is not confirmed, and publishes what this one could not."""
    keeping.redis.set(keeping.ward.scripts.keys.outbox, "not a hash")
    keeping.record(end(Delivery(id="j1", task="t", token="0000abcd:9:0"), follow_ups=(NEXT,)))
    keeping.until(lambda: keeping.state("j1"), "the outcome is written")
    for _ in range(5):
        keeping.turn()
    assert keeping.confirmed() == []
    keeping.redis.delete(keeping.ward.scripts.keys.outbox)
    keeping.until(lambda: keeping.confirmed() == [1], "the worker is told")
    assert keeping.redis.llen("mail") == 1
    assert keeping.redis.hexists(keeping.ward.scripts.keys.outbox, "next")


def test_a_job_that_ended_before_its_process_died_is_not_put_back(keeping: Keeping) -> None:
    claim = keeping.claim("j1")
    write(keeping.url, end(replace(claim, token="other")))
    keeping.record(end(claim, CRASHED))
    keeping.settles(claim, "crash", "3")
    keeping.until(lambda: not keeping.held, "the claim has ended")
    assert not keeping.redis.llen("mail")


def test_a_job_whose_process_died_is_put_back_when_that_is_written(keeping: Keeping) -> None:
    claim = keeping.claim("j1")
    keeping.record(end(claim, CRASHED))
    keeping.settles(claim, "crash", "3")
    keeping.until(lambda: not keeping.held, "the claim has ended")
    assert keeping.redis.llen("mail") == 1
    assert keeping.state("j1") is State.QUEUED


def test_an_end_is_announced_once_it_is_written(keeping: Keeping) -> None:
    with keeping.redis.pubsub() as ears:
        ears.subscribe(keeping.ward.scripts.keys.ended("j1"))
        ears.get_message(timeout=5)
        keeping.record(end(Delivery(id="j1", task="t")))
        keeping.until(lambda: keeping.confirmed(), "the worker is told")
        assert (ears.get_message(timeout=5) or {})["data"] == b"succeeded"


def test_the_worker_claims_no_more_while_too_much_waits_for_sql(keeping: Keeping) -> None:
    with closed_books(keeping.url):
        for number in range(FULL):
            keeping.record(end(Delivery(id=f"j{number}", task="t")), number + 1)
        assert keeping.told == [{"full": False}, {"full": True}], "a keeper begins by letting the worker claim"
    keeping.until(lambda: {"full": False} in keeping.told[2:], "the worker claims again")
    assert FREE < FULL
    keeping.until(lambda: len(keeping.confirmed()) == FULL, "everything is written")


def test_the_worker_claims_no_more_while_a_few_heavy_outcomes_wait_for_sql(keeping: Keeping) -> None:
    heavy = Outcome(state=State.SUCCEEDED, result="x" * (FULL_BYTES // 4))
    with closed_books(keeping.url):
        for number in range(4):
            keeping.record(end(Delivery(id=f"j{number}", task="t"), heavy), number + 1)
        assert {"full": True} in keeping.told
    keeping.until(lambda: {"full": False} in keeping.told[2:], "the worker claims again")


def test_a_delivery_may_start_unless_its_job_has_ended(keeping: Keeping) -> None:
    write(keeping.url, end(Delivery(id="ended", task="t")))
    for number, id in enumerate(("new", "ended"), 1):
        keeping.outcomes.take({"ask": [number, start(Delivery(id=id, task="t", token=id).encoded()).to_words()]})
    keeping.until(lambda: len(keeping.confirmed()) == 2, "both are answered")
    started = dict(answer for news in keeping.told for answer in news.get("started", ()))
    assert started == {"new": "won", "ended": "ended"}


@pytest.mark.parametrize(("worker", "verdict"), [("ant@host", None), ("bee@host", "won")], ids=["lives", "has died"])
def test_a_message_that_came_back_waits_while_its_job_runs_at_a_worker_that_lives(
    keeping: Keeping, worker: str, verdict: str | None
) -> None:
    write(keeping.url, start(Delivery(id="j1", task="t", token="first", worker=worker)))
    again = start(Delivery(id="j1", task="t", token="again", worker="cat@host").encoded())
    keeping.outcomes.take({"doubt": [1, again.to_words()]})
    keeping.until(lambda: keeping.confirmed(), "it is answered")
    assert [news["started"] for news in keeping.told if "started" in news] == [[["again", verdict]]]


def test_outcomes_that_sql_did_not_take_in_time_are_written_by_another_keeper(
    keeping: Keeping, broker_url: str
) -> None:
    claim = keeping.claim("j1")
    with writing(keeping.url) as connection:
        connection.execute(outbox.insert().values(**columns_of("j1")))
    keeping.redis.hset(keeping.ward.scripts.keys.outbox, "j1", 1)
    with closed_books(keeping.url):
        keeping.record(replace(end(claim), outbox_key="j1", follow_ups=(NEXT,)))
        keeping.settles(claim, "ack", "j1")
        keeping.until(lambda: someone_waits(keeping.url), "the outcome waits for the books")
        keeping.outcomes.spool()
        keeping.until(lambda: not keeping.held, "the claim has ended")
        assert keeping.redis.hlen(keeping.ward.scripts.keys.spool) == 1
        assert keeping.redis.hexists(keeping.ward.scripts.keys.outbox, "j1"), "nobody may publish it again"
        assert census.take(keeping.ward.scripts).queues["mail"].in_flight == 1
        assert [message.job_id for message in census.messages(keeping.ward.scripts, ["mail"])] == ["j1"]
    other = Keeping(broker_url, keeping.url)
    other.until(lambda: not other.redis.exists(other.ward.scripts.keys.spool), "the outcome has left Redis")
    other.until(lambda: other.redis.llen("mail") == 1, "what follows is published")
    assert other.state("j1") is State.SUCCEEDED
    assert not other.redis.hexists(other.ward.scripts.keys.outbox, "j1")
    other.outcomes.close()


def columns_of(id: str) -> dict[str, Any]:
    now = end().at
    names = {"key": id, "job_id": id, "task": "t", "queue": "mail", "step": 0, "payload": b""}
    return {**names, "created_at": now, "published_at": now}


def test_what_a_job_says_of_itself_is_on_the_books_while_it_runs(keeping: Keeping) -> None:
    progress = Record(
        step=Step.RUNNING,
        delivery=Delivery(id="j1", task="t", token="a").encoded(),
        started_at=end().at,
        at=end().at,
        progress=Outcome(state=State.RUNNING, result={"state": "HALF", "meta": 1}).encoded().result,
    )
    keeping.outcomes.take({"note": progress.to_words()})
    keeping.until(lambda: keeping.state("j1") is State.RUNNING, "it has a row")
    with reading(keeping.url) as connection:
        row = queries.find_job(connection, "j1")
    assert row is not None
    assert row.progress == {"state": "HALF", "meta": 1}
