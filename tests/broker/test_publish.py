"""Publish: once per call however often it is repeated, to the right place, with nothing else left behind."""

import pytest
from redis.exceptions import OutOfMemoryError

from penstock.broker.keys import FIELD_SEPARATOR
from tests.broker.bench import QUEUE, WORKER, Bench
from tests.broker.keyspace import Space

HOUR = 3_600_000
BINARY = bytes(range(256)) + b"\x1f\x1f\xff\xfe\x00"


def published(bench: Bench, calls: int = 1, tokens: int = 0) -> Space:
    """What calls of the producer ``p`` leave beside their messages."""
    wake = bench.wake(tokens) if tokens else {}
    return {bench.keys.queues: {QUEUE.encode()}, bench.keys.producer("p"): b"%d" % calls, **wake}


def parked(bench: Bench, due: int, *raws: bytes, call: int = 1, step: int = 0) -> Space:
    """A call's parked messages."""
    sep = FIELD_SEPARATOR.encode()
    members = bench.client.zrange(bench.keys.parked(QUEUE), 0, -1)
    assert sorted(member.split(sep, 2)[2] for member in members) == sorted(raws)
    assert {member.split(sep, 2)[0] for member in members} == {b"%d" % step}
    return {bench.keys.parked(QUEUE): dict.fromkeys(members, due)}


def test_messages_go_last_in_line(bench: Bench) -> None:
    bench.publish(b"a", b"b")
    bench.publish(b"c")
    assert bench.space == {**bench.ready(b"a", b"b", b"c"), **published(bench, calls=2, tokens=3)}


def test_each_step_has_a_list_of_its_own(bench: Bench) -> None:
    bench.publish(b"a", step=3)
    bench.publish(b"b", step=0)
    assert bench.space == {
        **bench.ready(b"a", step=3),
        **bench.ready(b"b", step=0),
        **published(bench, calls=2, tokens=2),
    }


def test_a_job_id_is_indexed_with_the_time_of_its_arrival(bench: Bench) -> None:
    bench.scripts.publish("p", 1, QUEUE, 0, [("j1", b"a"), ("", b"b")])
    assert bench.space == {
        **bench.ready(b"a", b"b"),
        **published(bench, tokens=2),
        **bench.tally(accepted=1),
        bench.keys.waiting(QUEUE): {b"j1": bench.recent},
    }


def test_a_repeated_call_changes_nothing_and_says_so(bench: Bench) -> None:
    assert bench.scripts.publish("p", 1, QUEUE, 0, [("j1", b"a")])
    before = bench.space
    assert not bench.scripts.publish("p", 1, QUEUE, 0, [("j1", b"a")])
    assert bench.space == before


def test_a_call_older_than_the_last_one_is_a_repeat(bench: Bench) -> None:
    bench.scripts.publish("p", 2, QUEUE, 0, [("", b"b")])
    assert not bench.scripts.publish("p", 1, QUEUE, 0, [("", b"a")])
    assert bench.space == {**bench.ready(b"b"), **published(bench, calls=2, tokens=1)}


def test_the_number_zero_is_a_call_like_any_other(bench: Bench) -> None:
    assert bench.scripts.publish("p", 0, QUEUE, 0, [("", b"a")])
    assert not bench.scripts.publish("p", 0, QUEUE, 0, [("", b"a")])
    assert bench.space == {**bench.ready(b"a"), **published(bench, calls=0, tokens=1)}


def test_two_producers_may_use_the_same_number(bench: Bench) -> None:
    assert bench.scripts.publish("p", 1, QUEUE, 0, [("", b"a")])
    assert bench.scripts.publish("q", 1, QUEUE, 0, [("", b"a")])
    assert bench.space == {
        **bench.ready(b"a", b"a"),
        **published(bench, tokens=2),
        bench.keys.producer("q"): b"1",
    }


def test_a_call_is_remembered_for_a_minute_after_the_last_one(bench: Bench) -> None:
    bench.publish(b"a")
    bench.client.pexpire(bench.keys.producer("p"), 1000)
    bench.publish(b"b")
    assert 55_000 < bench.client.pttl(bench.keys.producer("p")) <= 60_000


def test_nothing_but_the_number_of_a_call_expires(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.scripts.publish("p", 1, QUEUE, 0, [("j1", b"a")])
    bench.scripts.publish("p", 2, QUEUE, 0, [("j2", b"b")], bench.now + HOUR)
    assert [key for key in bench.space if bench.client.ttl(key) != -1] == [bench.keys.producer("p")]


def test_a_message_for_later_is_parked_while_a_worker_lives_to_promote_it(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    due = bench.now + HOUR
    bench.scripts.publish("p", 1, QUEUE, 3, [("j1", b"a")], due)
    assert bench.space == {
        **parked(bench, due, b"a", step=3),
        **published(bench),
        **bench.lease(),
        **bench.tally(accepted=1),
        bench.keys.waiting(QUEUE): {b"j1": due},
    }


def test_a_message_for_later_goes_the_way_of_stock_workers_while_none_of_ours_lives(bench: Bench) -> None:
    due = bench.now + HOUR
    bench.scripts.publish("p", 1, QUEUE, 0, [("j1", b"a")], due)
    assert bench.space == {
        **bench.ready(b"a"),
        **published(bench, tokens=1),
        **bench.tally(accepted=1),
        bench.keys.waiting(QUEUE): {b"j1": due},
    }


def test_a_message_whose_time_has_come_is_not_parked(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.scripts.publish("p", 1, QUEUE, 0, [("j1", b"a")], bench.now - HOUR)
    assert bench.space == {
        **bench.ready(b"a"),
        **published(bench, tokens=1),
        **bench.lease(),
        **bench.tally(accepted=1),
        bench.keys.waiting(QUEUE): {b"j1": bench.recent},
    }


def test_equal_messages_are_parked_each_for_itself(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    due = bench.now + HOUR
    bench.publish(b"a", b"a", due_ms=due)
    bench.publish(b"a", due_ms=due)
    assert bench.space == {**parked(bench, due, b"a", b"a", b"a"), **published(bench, calls=2), **bench.lease()}


def test_wake_tokens_are_capped(bench: Bench) -> None:
    raws = [b"%d" % i for i in range(200)]
    bench.publish(*raws[:100])
    bench.publish(*raws[100:])
    assert bench.space == {**bench.ready(*raws), **published(bench, calls=2, tokens=128)}


def test_more_wake_tokens_than_the_cap_stay_as_they_are(bench: Bench) -> None:
    bench.client.lpush(bench.keys.wake(QUEUE), *["1"] * 130)
    bench.publish(b"a")
    assert bench.space == {**bench.ready(b"a"), **published(bench, tokens=130)}


def test_thousands_of_messages_in_one_call_arrive_in_order(bench: Bench) -> None:
    raws = [b"%d" % i for i in range(2500)]
    bench.scripts.publish("p", 1, QUEUE, 0, [(f"j{i}", raw) for i, raw in enumerate(raws)])
    assert bench.space == {
        **bench.ready(*raws),
        **published(bench, tokens=128),
        **bench.tally(accepted=2500),
        bench.keys.waiting(QUEUE): {b"j%d" % i: bench.recent for i in range(2500)},
    }


def test_thousands_of_messages_in_one_call_are_parked(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    raws = [b"%d" % i for i in range(2500)]
    due = bench.now + HOUR
    bench.publish(*raws, due_ms=due)
    assert bench.space == {**parked(bench, due, *raws), **published(bench), **bench.lease()}


@pytest.mark.parametrize(
    "raw", [BINARY, b"", b"\xff" * 5_000_000, b"\r\n$-1\r\n"], ids=["bytes", "empty", "5 MB", "protocol"]
)
def test_any_bytes_arrive_unharmed(bench: Bench, raw: bytes) -> None:
    bench.publish(raw)
    assert bench.space == {**bench.ready(raw), **published(bench, tokens=1)}


def test_any_bytes_are_parked_unharmed(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    due = bench.now + HOUR
    bench.publish(BINARY, b"", due_ms=due)
    assert bench.space == {**parked(bench, due, BINARY, b""), **published(bench), **bench.lease()}


def test_a_flush_of_the_scripts_is_not_noticed(bench: Bench) -> None:
    bench.publish(b"a")
    bench.client.script_flush()
    bench.publish(b"b")
    assert bench.space == {**bench.ready(b"a", b"b"), **published(bench, calls=2, tokens=2)}


def test_a_full_server_refuses_and_the_same_call_is_accepted_later(bench: Bench) -> None:
    with bench.full_memory(), pytest.raises(OutOfMemoryError):
        bench.scripts.publish("p", 1, QUEUE, 0, [("j1", b"a")])
    assert bench.space == {}
    assert bench.scripts.publish("p", 1, QUEUE, 0, [("j1", b"a")])


def test_a_refused_message_is_not_taken_for_a_repeat(bench: Bench) -> None:
    bench.client.set(bench.keys.ready(QUEUE, 0), "somebody else's")
    with pytest.raises(Exception, match="WRONGTYPE"):
        bench.scripts.publish("p", 1, QUEUE, 0, [("", b"a")])
    bench.client.delete(bench.keys.ready(QUEUE, 0))
    assert bench.scripts.publish("p", 1, QUEUE, 0, [("", b"a")])
    assert bench.space == {**bench.ready(b"a"), **published(bench, tokens=1)}
