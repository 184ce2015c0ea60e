"""The relay: rows of committed transactions reach their queues, each once."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import select

from penstock.engine.keeping import relay as relaying
from penstock.ledger import outbox
from penstock.ledger.session import close_all, reading, writing
from penstock.ledger.tables import outbox as table
from tests.live import wait_for
from tests.outbox.ground import QUEUE, Ground, follow_up

LATER = datetime.now(UTC) + timedelta(days=1)


def test_rows_that_are_committed_are_published_in_their_order(ground: Ground) -> None:
    ground.put("a", "b", "c")
    assert ground.relay().turn() == 3
    assert (ground.ready, ground.waiting, ground.published) == (["a", "b", "c"], [], ["a", "b", "c"])


def test_each_row_is_published_once(ground: Ground) -> None:
    ground.put("a")
    relay = ground.relay()
    assert [relay.turn(), relay.turn()] == [1, 0]
    assert ground.ready == ["a"]


def test_a_message_that_redis_has_is_only_noted_as_published(ground: Ground) -> None:
    """As after a relay that died between publishing and its commit."""
    ground.put("a")
    ground.scripts.publish_outbox([relaying.outgoing(follow_up("a"), "tag")])
    assert ground.relay().turn() == 1
    assert len(ground.ready) == 1
    assert ground.published == ["a"]


def test_while_redis_refuses_them_the_rows_wait(ground: Ground) -> None:
    ground.put("a")
    relay = ground.relay()
    ground.client.set(ground.keys.outbox, "no hash")
    with pytest.raises(redis.ResponseError):
        relay.turn()
    assert ground.waiting == ["a"]
    ground.client.delete(ground.keys.outbox)
    relay.turn()
    assert ground.ready == ["a"]


def test_a_queue_that_takes_nothing_holds_up_no_other(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relaying, "BATCH", 1)
    ground.client.set("broken", "no list")
    ground.put("a", "b", queue="broken")
    ground.put("c")
    relay = ground.relay()
    assert [relay.turn() for _ in range(4)] == [1, 1, 1, 0]
    assert (ground.ready, ground.waiting) == (["c"], ["a", "b"])
    assert [record.args[0] for record in caplog.records if record.args] == ["broken"]  # type: ignore[index]
    ground.client.delete("broken")
    while relay.turn():
        pass
    assert (ground.client.llen("broken"), ground.waiting) == (2, [])


def test_a_row_that_one_relay_has_taken_is_passed_over_by_the_others(postgresql_ground: Ground) -> None:
    ground = postgresql_ground
    ground.put("a", "b")
    with writing(ground.database_url) as connection:
        assert [message.key for _, message in outbox.take(connection, 0, 1, 1000)] == ["a"]
        assert ground.relay().turn() == 1
    assert ground.ready == ["b"]


def test_several_relays_publish_each_row_once(ground: Ground) -> None:
    ids = [f"j{number:03}" for number in range(200)]
    ground.put(*ids)

    def publish_all() -> None:
        relay = ground.relay()
        while relay.turn():
            pass
        relay.close()

    threads = [threading.Thread(target=publish_all) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ground.ready) == ids
    assert ground.waiting == []


def test_a_turn_takes_so_many_bytes_and_one_message_more(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "MAX_BYTES", 3)
    ground.put("aa", "bb", "cc")
    relay = ground.relay()
    assert [relay.turn(), relay.turn(), relay.turn()] == [2, 1, 0]
    assert ground.ready == ["aa", "bb", "cc"]


def test_a_job_for_later_is_parked_until_then(ground: Ground) -> None:
    ground.scripts.join("somebody")
    ground.put("a", due=LATER)
    ground.relay().turn()
    (due,) = (due for _, due in ground.client.zrange(ground.keys.parked(QUEUE), 0, -1, withscores=True))
    assert due == int(LATER.timestamp() * 1000)


def test_a_follow_up_under_the_jobs_id_is_no_new_job(ground: Ground) -> None:
    ground.put("a")
    ground.put("b", key="b~1")
    ground.relay().turn()
    assert ground.client.hget(ground.keys.tally, f"accepted:{QUEUE}") == b"1"


def test_a_relay_publishes_soon_after_a_commit(ground: Ground) -> None:
    relay = ground.relay()
    relay.start()
    wait_for(lambda: ground.client.exists(ground.keys.relay), "the relay is at work")
    ground.put("a")
    wait_for(lambda: ground.ready == ["a"], "the row is published", 5)


def test_a_relay_finds_by_itself_what_redis_has_lost(ground: Ground) -> None:
    ground.put("a")
    ground.relay().turn()
    ground.age()
    ground.client.flushall()
    ground.relay().start()
    wait_for(lambda: ground.ready == ["a"], "the message has come back")


def test_a_relay_outlives_an_outage_of_sql(postgresql_ground: Ground) -> None:
    ground = postgresql_ground
    relay = ground.relay()
    relay.start()
    ground.put("a")
    wait_for(lambda: ground.ready == ["a"], "the row is published")
    with reading(ground.database_url) as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    close_all()
    ground.put("b")
    wait_for(lambda: ground.ready == ["a", "b"], "the relay has come back")


def test_one_keeper_is_elected_and_the_next_takes_over_when_it_stops(ground: Ground) -> None:
    first, second = ground.relay("first/00000001"), ground.relay("second/00000001")
    first.start()
    wait_for(lambda: ground.client.get(ground.keys.relay) == b"first/00000001", "the first is elected")
    second.start()
    first.stop()
    wait_for(lambda: ground.client.get(ground.keys.relay) == b"second/00000001", "the second is elected")
    ground.put("a")
    wait_for(lambda: ground.ready == ["a"], "the row is published")


def test_a_keeper_that_is_not_elected_publishes_nothing(ground: Ground) -> None:
    ground.client.set(ground.keys.relay, "another keeper")
    ground.put("a")
    ground.relay().perform()
    assert ground.waiting == ["a"]


def test_what_the_table_keeps_is_what_was_put_there(ground: Ground) -> None:
    ground.put("a", due=LATER)
    with reading(ground.database_url) as connection:
        (row,) = connection.execute(select(table)).mappings()
    kept = {name: row[name] for name in ("key", "job_id", "task", "queue", "step", "due", "payload", "published_at")}
    message = {name: getattr(follow_up("a", due=LATER), name) for name in kept if name != "published_at"}
    assert kept == {**message, "published_at": None}
