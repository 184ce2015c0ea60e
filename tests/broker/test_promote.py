"""Promote: what is due goes last in line, in the order of its time, slice by slice."""

import pytest

from tests.broker.bench import QUEUE, WORKER, Bench
from tests.broker.keyspace import Space

HOUR = 3_600_000
BINARY = bytes(range(256)) + b"\x1f\x1f\xff\xfe\x00"


def park(bench: Bench, *raws: bytes, in_ms: int = HOUR, queue: str = QUEUE, step: int = 0) -> int:
    """Parks messages and returns when they are due; a time in the past is what passing time leaves."""
    bench.scripts.join(WORKER)
    due = bench.now + HOUR
    bench.publish(*raws, queue=queue, step=step, due_ms=due)
    key = bench.keys.parked(queue)
    for member, score in bench.client.zrange(key, 0, -1, withscores=True):
        if score == due:
            bench.client.zadd(key, {member: due - HOUR + in_ms})
    return due - HOUR + in_ms


def beside(bench: Bench, calls: int, *queues: str) -> Space:
    """What parking leaves beside the parked messages."""
    names = {queue.encode() for queue in queues or (QUEUE,)}
    return {**bench.lease(), bench.keys.queues: names, bench.keys.producer("p"): b"%d" % calls}


def test_a_due_message_goes_last_in_line_and_wakes(bench: Bench) -> None:
    park(bench, b"a", in_ms=-1)
    bench.push(b"b")
    promoted = bench.scripts.promote([QUEUE])
    assert (promoted.moved, promoted.next_due_ms, promoted.now_ms) == (1, 0, bench.recent)
    assert bench.space == {**beside(bench, 1), **bench.ready(b"b", b"a"), **bench.wake(1)}


def test_a_message_that_is_not_due_stays_and_its_time_is_told(bench: Bench) -> None:
    due = park(bench, b"a")
    before = bench.space
    promoted = bench.scripts.promote([QUEUE])
    assert (promoted.moved, promoted.next_due_ms) == (0, due)
    assert bench.space == before


def test_without_parked_messages_there_is_no_next_time(bench: Bench) -> None:
    assert bench.scripts.promote([QUEUE])[:2] == (0, 0)
    assert bench.space == {}


def test_the_earliest_goes_first(bench: Bench) -> None:
    park(bench, b"late", in_ms=-1000)
    park(bench, b"early", in_ms=-3000)
    park(bench, b"middle", in_ms=-2000)
    bench.scripts.promote([QUEUE])
    assert bench.space == {**beside(bench, 3), **bench.ready(b"early", b"middle", b"late"), **bench.wake(3)}


def test_messages_of_one_call_keep_their_order(bench: Bench) -> None:
    raws = [b"%d" % i for i in range(1200)]
    park(bench, *raws, in_ms=-1)
    bench.scripts.promote([QUEUE], limit=5000)
    assert bench.space == {**beside(bench, 1), **bench.ready(*raws), **bench.wake(128)}


def test_messages_of_one_producer_for_one_time_keep_their_order(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    raws = [b"%d" % i for i in range(12)]
    due = bench.now + HOUR
    for raw in raws:
        bench.publish(raw, due_ms=due)
    bench.scripts.promote([QUEUE], everything=True)
    assert bench.space == {**beside(bench, 12), **bench.ready(*raws), **bench.wake(12)}


def test_messages_parked_by_one_claimer_for_one_time_keep_their_order(bench: Bench) -> None:
    raws = [b"%d" % i for i in range(12)]
    bench.hold(*raws)
    for place in range(1, 13):
        bench.settle("park", "1", token=f"{place}:0")
    bench.scripts.promote([QUEUE])
    assert bench.space == {**bench.idle(), **bench.ready(*raws), **bench.wake(12), bench.keys.queues: {QUEUE.encode()}}


def test_each_message_goes_to_its_step(bench: Bench) -> None:
    park(bench, b"a", in_ms=-1, step=9)
    park(bench, b"b", in_ms=-1, step=0)
    bench.scripts.promote([QUEUE])
    assert bench.space == {**beside(bench, 2), **bench.ready(b"a", step=9), **bench.ready(b"b"), **bench.wake(2)}


def test_a_slice_moves_the_earliest_and_says_that_more_is_due(bench: Bench) -> None:
    first, _, third = (park(bench, raw, in_ms=ms) for raw, ms in ((b"a", -3000), (b"b", -2000), (b"c", -1000)))
    promoted = bench.scripts.promote([QUEUE], limit=2)
    assert (promoted.moved, promoted.next_due_ms) == (2, third)
    assert promoted.next_due_ms <= promoted.now_ms
    assert first not in bench.space[bench.keys.parked(QUEUE)].values()
    assert bench.space.items() >= {**bench.ready(b"a", b"b"), **bench.wake(2)}.items()


def test_a_slice_holds_over_all_queues(bench: Bench) -> None:
    park(bench, b"a", b"b", in_ms=-1)
    due = park(bench, b"c", b"d", in_ms=-1, queue="post")
    promoted = bench.scripts.promote([QUEUE, "post"], limit=3)
    assert (promoted.moved, promoted.next_due_ms) == (3, due)
    assert bench.scripts.promote([QUEUE, "post"], limit=3)[:2] == (1, 0)
    assert bench.space == {
        **beside(bench, 2, QUEUE, "post"),
        **bench.ready(b"a", b"b"),
        **bench.wake(2),
        **bench.ready(b"c", b"d", queue="post"),
        **bench.wake(2, queue="post"),
    }


def test_the_next_time_is_the_earliest_of_all_queues(bench: Bench) -> None:
    park(bench, b"a", in_ms=2 * HOUR)
    due = park(bench, b"b", in_ms=HOUR, queue="post")
    park(bench, b"c", in_ms=3 * HOUR, queue="third")
    assert bench.scripts.promote([QUEUE, "post", "third"]).next_due_ms == due


def test_other_queues_are_left_alone(bench: Bench) -> None:
    park(bench, b"a", in_ms=-1)
    before = bench.space
    assert bench.scripts.promote(["post"])[:2] == (0, 0)
    assert bench.space == before


def test_everything_goes_back_when_asked_for(bench: Bench) -> None:
    park(bench, b"b", in_ms=2 * HOUR)
    park(bench, b"a", in_ms=HOUR)
    assert bench.scripts.promote([QUEUE], everything=True)[:2] == (2, 0)
    assert bench.space == {**beside(bench, 2), **bench.ready(b"a", b"b"), **bench.wake(2)}


def test_a_clock_set_forward_promotes_what_is_due_by_it(bench: Bench) -> None:
    """Parked an hour ago for in half an hour."""
    park(bench, b"a", in_ms=-HOUR // 2)
    assert bench.scripts.promote([QUEUE]).moved == 1


@pytest.mark.parametrize("raw", [BINARY, b"", b"\xff" * 5_000_000], ids=["bytes", "empty", "5 MB"])
def test_any_bytes_are_promoted_unharmed(bench: Bench, raw: bytes) -> None:
    park(bench, raw, in_ms=-1)
    bench.scripts.promote([QUEUE])
    assert bench.space == {**beside(bench, 1), **bench.ready(raw), **bench.wake(1)}


def test_any_bytes_that_a_claimer_parked_are_promoted_unharmed(bench: Bench) -> None:
    bench.hold(BINARY, step=3)
    bench.settle("park", "1", token="1:3")
    bench.scripts.promote([QUEUE])
    known = {bench.keys.queues: {QUEUE.encode()}}
    assert bench.space == {**bench.idle(), **bench.ready(BINARY, step=3), **bench.wake(1), **known}


def test_the_index_keeps_the_job_until_it_is_claimed(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    due = bench.now + HOUR
    bench.scripts.publish("p", 1, QUEUE, 0, [("j1", b"a")], due)
    bench.scripts.promote([QUEUE], everything=True)
    assert bench.space == {
        **beside(bench, 1),
        **bench.ready(b"a"),
        **bench.wake(1),
        **bench.tally(accepted=1),
        bench.keys.waiting(QUEUE): {b"j1": due},
    }


def test_a_flush_of_the_scripts_is_not_noticed(bench: Bench) -> None:
    park(bench, b"a", in_ms=-1)
    bench.client.script_flush()
    assert bench.scripts.promote([QUEUE]).moved == 1


def test_a_full_server_promotes(bench: Bench) -> None:
    park(bench, b"a", in_ms=-1)
    with bench.full_memory():
        assert bench.scripts.promote([QUEUE]).moved == 1
