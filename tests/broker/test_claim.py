"""Claim: what leaves a list is in flight in the same step, in strict order, within bounds, and once per base."""

import pytest

from penstock.broker.keys import FIELD_SEPARATOR
from penstock.broker.scripts import Claimed, Source
from tests.broker.bench import QUEUE, WORKER, Bench, sha_of
from tests.broker.keyspace import Space

UNKNOWN = Source(QUEUE, 0, "demo.x")


def first(*raws: bytes, step: int = 0, base: int = 0) -> list[Claimed]:
    """First deliveries under consecutive tokens."""
    return [Claimed(f"{base + i}:{step}", QUEUE, raw, 0, 0) for i, raw in enumerate(raws, 1)]


def put_aside(bench: Bench, *raws: bytes, source: Source = UNKNOWN) -> Space:
    """Messages of an unknown task, as a settlement would have put them aside."""
    key = bench.keys.unknown_list(source.queue, source.step, source.task)
    value = FIELD_SEPARATOR.join([source.task, source.queue, str(source.step)]).encode()
    bench.client.lpush(key, *raws)
    bench.client.hset(bench.keys.unknown, key, value)
    return {key: list(raws[::-1]), bench.keys.unknown: {key: value}}


def test_claimed_messages_are_in_flight_in_the_order_of_their_arrival(bench: Bench) -> None:
    assert bench.hold(b"a", b"b") == first(b"a", b"b")
    assert bench.space == bench.holding(t1_0=b"a", t2_0=b"b")


def test_an_empty_claim_leaves_no_trace(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    reply = bench.claim()
    assert (reply.has_lease, reply.messages, reply.now_ms) == (True, [], bench.recent)
    assert bench.space == bench.lease()


def test_without_a_lease_nothing_is_claimed(bench: Bench) -> None:
    bench.push(b"a")
    reply = bench.claim()
    assert (reply.has_lease, reply.messages) == (False, [])
    assert bench.space == bench.ready(b"a")


def test_a_lease_of_another_worker_does_not_do(bench: Bench) -> None:
    bench.push(b"a")
    bench.scripts.join("bee@host/00000002")
    assert not bench.claim().has_lease
    assert bench.space == {**bench.ready(b"a"), **bench.lease("bee@host/00000002")}


def test_tokens_go_on_where_the_base_says(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"a", b"b")
    bench.claim(count=1)
    assert bench.claim(base=1).messages == first(b"b", base=1)
    assert bench.space == bench.holding(base=1, t1_0=b"a", t2_0=b"b")


def test_tokens_of_a_large_counter_are_whole_numbers(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"a")
    assert bench.claim(base=10**15).messages == first(b"a", base=10**15)
    assert bench.space == bench.holding(10**15, t1000000000000001_0=b"a")


def test_the_same_base_again_gets_the_same_messages(bench: Bench) -> None:
    messages = bench.hold(b"a", b"b")
    before = bench.space
    bench.push(b"c")
    assert bench.claim().messages == messages
    assert bench.space == {**before, **bench.ready(b"c")}


def test_the_same_base_again_gets_the_same_messages_in_the_same_order(bench: Bench) -> None:
    # Values of this size lie in a hash table of the server, which has no order.
    messages = bench.hold(*[b"%d " % i + b"x" * 100 for i in range(50)])
    assert bench.claim().messages == messages


def test_the_same_base_again_gets_the_same_messages_of_all_queues_and_steps(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"a", step=3)
    bench.push(b"b", queue="post")
    bench.push(b"c", step=0)
    sources = Source(QUEUE, 0), Source("post", 0), Source(QUEUE, 3)
    messages = bench.claim(*sources).messages
    assert [message.raw for message in messages] == [b"c", b"b", b"a"]
    assert bench.claim(*sources).messages == messages


def test_the_same_base_again_gets_the_same_messages_when_other_queues_are_asked_for_by_now(bench: Bench) -> None:
    messages = bench.hold(b"a", b"b")
    bench.push(b"c", queue="post")
    assert bench.claim(Source("post", 0)).messages == messages


def test_the_same_base_again_gets_what_is_not_settled(bench: Bench) -> None:
    bench.hold(b"a", b"b")
    bench.settle("ack", token="1:0")
    assert [message.token for message in bench.claim().messages] == ["2:0"]
    assert bench.space == bench.holding(t2_0=b"b")


def test_the_same_base_again_gets_nothing_once_everything_is_settled(bench: Bench) -> None:
    bench.hold(b"a")
    bench.settle("ack")
    bench.push(b"b")
    assert bench.claim().messages == []
    assert bench.space == {**bench.idle(), **bench.ready(b"b")}


def test_an_empty_claim_may_be_followed_by_one_with_the_same_base(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.claim()
    bench.push(b"a")
    assert bench.claim().messages == first(b"a")
    assert bench.space == bench.holding(t1_0=b"a")


def test_a_repeat_gets_only_what_came_after_its_base(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"a", b"b")
    bench.claim(count=1)
    bench.claim(base=1)
    assert bench.claim(base=1).messages == first(b"b", base=1)


def test_a_repeat_after_the_lease_was_taken_gets_nothing(bench: Bench) -> None:
    bench.hold(b"a")
    bench.scripts.retire(WORKER, counted=False, crash_limit=3)
    reply = bench.claim()
    assert (reply.has_lease, reply.messages) == (False, [])
    assert bench.space == {**bench.ready(b"a"), **bench.wake(1)}


def test_each_claimer_has_a_counter_of_its_own(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"a", b"b")
    one, two = f"{WORKER}/1", f"{WORKER}/2"
    assert bench.claim(claimer=one, count=1).messages == first(b"a")
    assert bench.claim(claimer=two, count=1).messages == first(b"b")
    assert bench.space == {
        **bench.lease(),
        bench.keys.inflight(one, QUEUE): {"1:0": b"a"},
        bench.keys.inflight(two, QUEUE): {"1:0": b"b"},
        bench.keys.worker(WORKER): {
            f"base:{one}": b"0",
            f"base:{two}": b"0",
            f"held:{one}{FIELD_SEPARATOR}{QUEUE}": b"1",
            f"held:{two}{FIELD_SEPARATOR}{QUEUE}": b"1",
        },
    }


@pytest.mark.parametrize("count", [1, 49, 50, 51, 101])
def test_the_count_bounds_a_claim(bench: Bench, count: int) -> None:
    bench.scripts.join(WORKER)
    raws = [b"%d" % i for i in range(120)]
    bench.push(*raws)
    assert bench.claim(count=count).messages == first(*raws[:count])
    tokens = {f"t{i}_0": raw for i, raw in enumerate(raws[:count], 1)}
    assert bench.space == {**bench.holding(**tokens), **bench.ready(*raws[count:])}


def test_the_byte_bound_is_passed_by_one_message_at_most(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    raws = [b"%d" % i * 10 for i in range(5)]
    bench.push(*raws)
    assert bench.claim(max_bytes=11).messages == first(*raws[:2])
    assert bench.space == {**bench.holding(t1_0=raws[0], t2_0=raws[1]), **bench.ready(*raws[2:])}


def test_a_message_larger_than_the_bound_is_claimed_alone(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"x" * 100, b"b")
    assert bench.claim(max_bytes=10).messages == first(b"x" * 100)
    assert bench.space == {**bench.holding(t1_0=b"x" * 100), **bench.ready(b"b")}


def test_the_byte_bound_holds_over_all_sources(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"x" * 10)
    bench.push(b"b", step=3)
    assert bench.claim(Source(QUEUE, 0), Source(QUEUE, 3), max_bytes=10).messages == first(b"x" * 10)
    assert bench.space == {**bench.holding(t1_0=b"x" * 10), **bench.ready(b"b", step=3)}


def test_a_later_source_is_served_once_the_earlier_ones_are_empty(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"c", b"d", step=9)
    bench.push(b"a", b"b", step=0)
    messages = bench.claim(Source(QUEUE, 0), Source(QUEUE, 3), Source(QUEUE, 9), count=3).messages
    assert [(message.token, message.raw) for message in messages] == [("1:0", b"a"), ("2:0", b"b"), ("3:9", b"c")]
    assert bench.space == {**bench.holding(t1_0=b"a", t2_0=b"b", t3_9=b"c"), **bench.ready(b"d", step=9)}


def test_a_closed_gate_keeps_its_queue_and_no_other(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.client.hset(bench.keys.gates, QUEUE, "{}")
    bench.push(b"a")
    bench.push(b"b", step=3)
    put_aside(bench, b"c")
    bench.push(b"d", queue="post")
    before = bench.space
    sources = Source(QUEUE, 0), Source(QUEUE, 3), UNKNOWN, Source("post", 0)
    assert bench.claim(*sources).messages == [Claimed("1:0", "post", b"d", 0, 0)]
    held = f"held:{WORKER}{FIELD_SEPARATOR}post"
    del before[bench.keys.ready("post", 0)]
    assert bench.space == {
        **before,
        bench.keys.worker(WORKER): {f"base:{WORKER}": b"0", held: b"1"},
        bench.keys.inflight(WORKER, "post"): {"1:0": b"d"},
    }


def test_a_closed_gate_keeps_wake_tokens(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.client.hset(bench.keys.gates, QUEUE, "{}")
    bench.publish(b"a")
    before = bench.space
    assert bench.claim().messages == []
    assert bench.space == before


def test_a_repeat_is_answered_though_the_gate_was_closed_meanwhile(bench: Bench) -> None:
    messages = bench.hold(b"a")
    bench.client.hset(bench.keys.gates, QUEUE, "{}")
    assert bench.claim().messages == messages


def test_messages_of_an_unknown_task_are_claimed_by_name(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    put_aside(bench, b"a", b"b")
    assert bench.claim(UNKNOWN).messages == first(b"a", b"b")
    assert bench.space == bench.holding(t1_0=b"a", t2_0=b"b")


def test_a_list_of_an_unknown_task_is_noted_until_it_is_empty(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    aside = put_aside(bench, b"a", b"b")
    bench.claim(UNKNOWN, count=1)
    key = bench.keys.unknown_list(*UNKNOWN)
    assert bench.space == {**bench.holding(t1_0=b"a"), **aside, key: [b"b"]}


def test_the_token_of_an_unknown_task_keeps_the_step(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    source = Source(QUEUE, 6, "demo.x")
    put_aside(bench, b"a", source=source)
    assert bench.claim(source).messages == first(b"a", step=6)
    assert bench.space == bench.holding(t1_6=b"a")


def test_wake_tokens_go_when_the_queue_is_empty(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.publish(b"a", b"b")
    bench.claim()
    assert bench.keys.wake(QUEUE) not in bench.space


def test_wake_tokens_stay_while_messages_are_left(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.publish(b"a", b"b", b"c")
    bench.claim(count=1)
    assert bench.space.items() >= bench.wake(3).items()


def test_wake_tokens_stay_while_a_later_step_was_not_reached(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.publish(b"a")
    bench.publish(b"b", step=3)
    bench.claim(Source(QUEUE, 0), Source(QUEUE, 3), count=1)
    assert bench.space.items() >= {**bench.wake(2), **bench.ready(b"b", step=3)}.items()


def test_wake_tokens_stay_when_only_unknown_tasks_were_asked_for(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.publish(b"a")
    put_aside(bench, b"b")
    bench.claim(UNKNOWN)
    assert bench.space.items() >= {**bench.wake(1), **bench.ready(b"a")}.items()


def test_earlier_deliveries_and_crashes_are_told(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"a", b"b")
    bench.client.hset(bench.keys.deliveries, sha_of(b"b"), "12:2:1")
    assert bench.claim().messages == [Claimed("1:0", QUEUE, b"a", 0, 0), Claimed("2:0", QUEUE, b"b", 12, 2)]
    assert bench.claim().messages[1] == Claimed("2:0", QUEUE, b"b", 12, 2)


@pytest.mark.parametrize("has_lease", [True, False])
def test_the_version_of_the_revocations_is_told(bench: Bench, has_lease: bool) -> None:
    version = bench.scripts.revoke(["j1"])
    if has_lease:
        bench.scripts.join(WORKER)
    assert bench.claim().revoked_version == version


def test_any_bytes_are_claimed_unharmed(bench: Bench) -> None:
    raws = bytes(range(256)), b"", b"\xff" * 5_000_000
    assert bench.hold(*raws) == first(*raws[:3])
    assert bench.space == bench.holding(t1_0=raws[0], t2_0=raws[1], t3_0=raws[2])


def test_a_flush_of_the_scripts_is_not_noticed(bench: Bench) -> None:
    bench.hold(b"a")
    bench.push(b"b")
    bench.client.script_flush()
    assert bench.claim(base=1).messages == first(b"b", base=1)


def test_a_source_of_a_wrong_type_costs_no_message_of_the_others(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"a")
    bench.client.set(bench.keys.ready("post", 0), "somebody else's")
    with pytest.raises(Exception, match="WRONGTYPE"):
        bench.claim(Source(QUEUE, 0), Source("post", 0))
    bench.client.delete(bench.keys.ready("post", 0))
    assert bench.claim(Source(QUEUE, 0), Source("post", 0)).messages == first(b"a")


def test_a_claim_of_many_thousands_loses_none(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    raws = [b"%d" % i for i in range(10_000)]
    bench.push(*raws)
    messages = bench.claim(count=10_000).messages
    left = bench.client.lrange(bench.keys.ready(QUEUE, 0), 0, -1)[::-1]
    assert [message.raw for message in messages] + left == raws
    assert len(bench.client.hgetall(bench.keys.inflight(WORKER, QUEUE))) == len(messages)


def test_a_full_server_still_hands_out_messages(bench: Bench) -> None:
    """They are what fills it."""
    bench.scripts.join(WORKER)
    bench.push(b"a")
    with bench.full_memory():
        assert bench.claim().messages == first(b"a")
    assert bench.space == bench.holding(t1_0=b"a")
