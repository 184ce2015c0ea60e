"""The reconciler: what Redis has lost comes back, what it has is not doubled, and what has ended never returns."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from penstock.broker import breakers
from penstock.broker.scripts import Settlement, Source
from penstock.engine.keeping import relay as relaying
from penstock.ledger import outbox
from penstock.ledger.session import writing
from tests.outbox.ground import QUEUE, Ground

LATER = datetime.now(UTC) + timedelta(days=1)
WORKER = "worker/00000001"
OPEN = ["blocked", "broken", "buried", "in flight", "parked", "ready"]


def lose(ground: Ground, *keys: str) -> None:
    """Redis forgets these messages, as one that comes back without its last second."""
    for raw in ground.client.lrange(ground.keys.ready(QUEUE, 0), 0, -1):
        if any(raw.startswith(key.encode()) for key in keys):
            ground.client.lrem(ground.keys.ready(QUEUE, 0), 1, raw)
    ground.client.hdel(ground.keys.outbox, *keys)


def settle(ground: Ground, token: str, verb: str, *arguments: str) -> None:
    ground.scripts.settle([Settlement(WORKER, QUEUE, token, verb, *arguments)])


def end(ground: Ground, key: str, token: str) -> None:
    """What happens when a job has ended: first in SQL, then in Redis."""
    with writing(ground.database_url) as connection:
        outbox.forget(connection, [key])
    settle(ground, token, "ack", key)


def everywhere(ground: Ground) -> None:
    """One job in every place where a job can be, one that has ended, and all of them published long ago."""
    ground.scripts.join(WORKER)
    ground.put("ended", "in flight", "blocked", "buried", "broken")
    ground.relay().turn()
    ground.scripts.claim(WORKER, WORKER, 0, [Source(QUEUE, 0)])
    end(ground, "ended", "1:0")
    settle(ground, "3:0", "block", "demo.x", "blocked")
    settle(ground, "4:0", "bury", "too bad", "buried")
    ground.scripts.switch("demo.y", "open", "test", "")
    settle(ground, "5:0", "admit", "demo.y", "broken")
    ground.put("parked", due=LATER)
    ground.put("ready")
    ground.relay().turn()
    ground.age()


def go_on(ground: Ground) -> int:
    """The relay and the reconciler do what there is to do; how many messages that publishes."""
    relay, published = ground.relay(), 0
    relay.reconcile_slice()
    while count := relay.turn():
        published += count
    return published


def test_what_is_ready_in_flight_parked_blocked_or_buried_is_not_doubled(ground: Ground) -> None:
    everywhere(ground)
    assert go_on(ground) == 0
    assert (ground.ready, sorted(ground.published)) == (["ready"], OPEN)


def test_after_redis_has_lost_everything_just_the_jobs_that_are_open_come_back(ground: Ground) -> None:
    everywhere(ground)
    ground.client.flushall()
    assert go_on(ground) == len(OPEN)
    assert sorted(ground.ready) == OPEN


def test_what_a_breaker_has_put_aside_comes_back_to_a_closed_one_when_redis_has_lost_it(ground: Ground) -> None:
    ground.scripts.join(WORKER)
    ground.put("first", "second")
    ground.relay().turn()
    ground.scripts.claim(WORKER, WORKER, 0, [Source(QUEUE, 0)])
    ground.scripts.switch("demo.x", "open", "test", "")
    settle(ground, "1:0", "admit", "demo.x", "first")
    settle(ground, "2:0", "admit", "demo.x", "second")
    ground.age()
    assert breakers.jobs_by_task(ground.scripts) == {"demo.x": 2}
    assert go_on(ground) == 0
    ground.client.flushall()
    assert go_on(ground) == 2
    assert ground.ready == ["first", "second"]
    assert breakers.standing(ground.scripts, "demo.x") is None


def test_they_come_back_once(ground: Ground) -> None:
    everywhere(ground)
    ground.client.flushall()
    go_on(ground)
    ground.age()
    assert go_on(ground) == 0


def test_of_many_just_the_lost_ones_come_back(ground: Ground) -> None:
    ground.put("a", "b", "c", "d")
    ground.relay().turn()
    ground.age()
    lose(ground, "b", "d")
    assert go_on(ground) == 2
    assert ground.ready == ["a", "c", "b", "d"]


def test_a_job_that_ends_while_it_is_compared_does_not_come_back(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.scripts.join(WORKER)
    ground.put("a")
    ground.relay().turn()
    ground.age()
    ground.scripts.claim(WORKER, WORKER, 0, [Source(QUEUE, 0)])
    relay = ground.relay()
    client = relay._scripts.client
    look = client.hmget

    def look_after_it_has_ended(*arguments: Any) -> Any:
        end(ground, "a", "1:0")
        return look(*arguments)

    monkeypatch.setattr(client, "hmget", look_after_it_has_ended)
    assert relay.reconcile_slice() == relaying.BETWEEN_SWEEPS
    assert (relay.turn(), ground.ready, ground.waiting) == (0, [], [])


def test_a_row_that_somebody_has_published_again_meanwhile_is_left_alone(ground: Ground) -> None:
    ground.put("a")
    ground.relay().turn()
    ground.age()
    with writing(ground.database_url) as connection:
        (read,) = outbox.published_slice(connection, 0, 10, 5.0)
        outbox.mark_published(connection, [read.number])
    with writing(ground.database_url) as connection:
        assert outbox.put_back(connection, [read]) == 0
    assert ground.published == ["a"]


def test_what_was_published_just_now_is_not_compared_yet(ground: Ground) -> None:
    """The follow-ups of an outcome are on their way to Redis when their rows are committed."""
    ground.put("a")
    ground.relay().turn()
    lose(ground, "a")
    assert go_on(ground) == 0


def test_a_time_that_lies_ahead_hides_nothing(ground: Ground) -> None:
    """A host whose clock is an hour fast published it."""
    ground.put("a")
    ground.relay().turn()
    ground.age(LATER)
    lose(ground, "a")
    assert go_on(ground) == 1


def test_a_sweep_goes_slice_by_slice_and_begins_anew(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "SLICE", 2)
    ground.put("a", "b", "c")
    relay = ground.relay()
    relay.turn()
    ground.age()
    lose(ground, "c")
    pauses = [relay.reconcile_slice() for _ in range(3)]
    assert pauses == [relaying.BETWEEN_SLICES, relaying.BETWEEN_SWEEPS, relaying.BETWEEN_SLICES]
    assert ground.waiting == ["c"]


def test_it_makes_no_pauses_once_it_has_found_a_loss(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "SLICE", 2)
    ground.put("a", "b", "c")
    relay = ground.relay()
    relay.turn()
    ground.age()
    lose(ground, "a")
    assert relay.reconcile_slice() == 0


def test_meanwhile_new_rows_are_published(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "SLICE", 1)
    ground.put("a", "b", "c")
    ground.relay().turn()
    ground.age()
    ground.client.flushall()
    ground.put("new")
    ground.relay().perform()
    assert (ground.ready, ground.waiting, ground.published) == (["new"], ["a"], ["b", "c", "new"])


def test_what_a_sweep_has_found_is_told_once(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relaying, "SLICE", 1)
    ground.put("a", "b", "c")
    relay = ground.relay()
    relay.turn()
    ground.age()
    lose(ground, "a", "c")
    while relay.reconcile_slice() != relaying.BETWEEN_SWEEPS:
        pass
    assert [record.args for record in caplog.records] == [(2,)]


def test_what_redis_has_lost_is_counted_anew_because_its_count_is_lost_as_well(ground: Ground) -> None:
    everywhere(ground)
    ground.client.flushall()
    go_on(ground)
    assert ground.client.hget(ground.keys.tally, f"accepted:{QUEUE}") == str(len(OPEN)).encode()


def test_a_server_without_an_answer_makes_nothing_lost(ground: Ground) -> None:
    ground.put("a")
    relay = ground.relay()
    relay.turn()
    ground.age()
    ground.client.delete(ground.keys.outbox)
    ground.client.set(ground.keys.outbox, "no hash")
    with pytest.raises(redis.ResponseError):
        relay.reconcile_slice()
    assert ground.published == ["a"]
