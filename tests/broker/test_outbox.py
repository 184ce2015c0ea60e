"""Outbox: a message goes on its queue unless Redis has it already, and settling it as done makes room for the next."""

import pytest
import redis

from penstock.broker.keys import FIELD_SEPARATOR
from penstock.broker.scripts import REFUSED, SETTLED, Outgoing, Source
from tests.broker.bench import QUEUE, Bench
from tests.broker.keyspace import Space

LATER = 2_000_000_000_000


def outgoing(
    key: str, *, queue: str = QUEUE, step: int = 0, due_ms: int = 0, is_new: bool = True, raw: bytes = b""
) -> Outgoing:
    """A message whose job has the key's first part as its id."""
    return Outgoing(key, queue, step, due_ms, key.partition("~")[0], is_new, raw or key.encode())


def known(bench: Bench, *keys: str) -> Space:
    """The hash of messages that Redis has."""
    return {bench.keys.outbox: dict.fromkeys(keys, b"1")}


def waiting(bench: Bench, *ids: str, queue: str = QUEUE) -> Space:
    """The waiting index of jobs that may start at once, and the note of the queue."""
    index = {bench.keys.waiting(queue): {id.encode(): bench.recent for id in ids}}
    return {**index, bench.keys.queues: {queue.encode()}}


def accepted(bench: Bench, **counts: int) -> Space:
    """The balance sheet."""
    fields = {f"accepted:{queue}": b"%d" % count for queue, count in counts.items()}
    return {bench.keys.tally: {**fields, "since": bench.recent}}


def test_messages_go_last_in_line_with_a_field_a_place_in_the_index_a_count_and_a_wake_token_each(bench: Bench) -> None:
    assert bench.scripts.publish_outbox([outgoing("a"), outgoing("b")]) == [True, True]
    everything = {**bench.ready(b"a", b"b"), **known(bench, "a", "b"), **waiting(bench, "a", "b"), **bench.wake(2)}
    assert bench.space == {**everything, **accepted(bench, mail=2)}


def test_a_message_that_redis_has_is_not_put_there_again(bench: Bench) -> None:
    bench.scripts.publish_outbox([outgoing("a")])
    before = bench.space
    assert bench.scripts.publish_outbox([outgoing("a", raw=b"again")]) == [False]
    assert bench.space == before


def test_two_messages_of_one_call_may_go_to_different_queues_and_steps(bench: Bench) -> None:
    bench.scripts.publish_outbox([outgoing("a"), outgoing("b", queue="web", step=6)])
    assert bench.space.items() >= {**bench.ready(b"a"), **bench.ready(b"b", queue="web", step=6)}.items()
    assert bench.space[bench.keys.tally].keys() == {"accepted:mail", "accepted:web", "since"}


def test_a_message_of_a_job_that_was_counted_before_is_not_counted(bench: Bench) -> None:
    bench.scripts.publish_outbox([outgoing("a~1", is_new=False)])
    assert bench.keys.tally not in bench.space


def test_what_is_due_later_is_parked_while_there_is_a_worker_that_promotes(bench: Bench) -> None:
    bench.scripts.join("somebody")
    bench.scripts.publish_outbox([outgoing("a", due_ms=LATER, step=3)])
    ((member, due),) = bench.space[bench.keys.parked(QUEUE)].items()
    step, _, raw = member.split(FIELD_SEPARATOR.encode())
    assert (step, raw, due) == (b"3", b"a", LATER)
    assert bench.space[bench.keys.waiting(QUEUE)] == {b"a": LATER}


def test_parked_messages_of_equal_times_keep_their_order(bench: Bench) -> None:
    bench.scripts.join("somebody")
    bench.scripts.publish_outbox([outgoing(f"{place}", due_ms=LATER) for place in range(12, 0, -1)])
    bench.scripts.promote([QUEUE], everything=True)
    assert bench.space[bench.keys.ready(QUEUE, 0)] == [str(place).encode() for place in range(1, 13)]


def test_without_a_worker_of_ours_what_is_due_later_is_ready_as_stock_workers_expect_it(bench: Bench) -> None:
    bench.scripts.publish_outbox([outgoing("a", due_ms=LATER)])
    assert bench.space.items() >= bench.ready(b"a").items()


def test_a_message_whose_queue_cannot_be_written_leaves_no_field_and_holds_up_no_other(bench: Bench) -> None:
    bench.client.set(bench.keys.ready(QUEUE, 0), "not a list")
    refused, published = bench.scripts.publish_outbox([outgoing("a"), outgoing("b", queue="web")])
    assert str(refused).startswith("WRONGTYPE")
    assert published is True
    assert bench.space.items() >= {**known(bench, "b"), **bench.ready(b"b", queue="web")}.items()


def test_a_full_server_takes_nothing(bench: Bench) -> None:
    with bench.full_memory(), pytest.raises(redis.OutOfMemoryError):
        bench.scripts.publish_outbox([outgoing("a")])
    assert bench.space == {}


@pytest.mark.parametrize("verb", ["ack", "ack_counted"])
def test_settling_a_message_as_done_takes_its_field(bench: Bench, verb: str) -> None:
    bench.scripts.join("ant@host/00000001")
    bench.scripts.publish_outbox([outgoing("a"), outgoing("b")])
    bench.claim(Source(QUEUE, 0))
    assert bench.settle(verb, "a") == SETTLED
    assert bench.space[bench.keys.outbox] == {"b": b"1"}


@pytest.mark.parametrize("verb", ["ack", "ack_counted"])
def test_whoever_has_lost_the_claim_leaves_the_field_to_the_next(bench: Bench, verb: str) -> None:
    bench.scripts.join("ant@host/00000001")
    bench.scripts.publish_outbox([outgoing("a")])
    bench.claim(Source(QUEUE, 0))
    bench.settle("requeue")
    assert bench.settle(verb, "a") == REFUSED
    assert bench.space[bench.keys.outbox] == {"a": b"1"}
