"""Leases: who renews keeps its claims; who was silent or has ended gives them back, in order and slice by slice."""

import pytest

from penstock.broker.keys import FIELD_SEPARATOR
from penstock.broker.scripts import Source
from tests.broker.bench import LIMIT, QUEUE, WORKER, Bench, sha_of
from tests.broker.keyspace import Between, Count, Space

BEE = "bee@host/00000002"
LEASE = 10_000
GAP = 3_000
HOUR = 3_600_000
LONG_AGO = 1_000_000


def counts(bench: Bench, *raws: bytes, deliveries: int = 1, crashes: int = 1) -> Space:
    """Delivery counts of several messages."""
    count = Count(deliveries, crashes, bench.recent)
    return {bench.keys.deliveries: {sha_of(raw): count for raw in raws}}


def ticks(bench: Bench, since_ago: int = 0) -> Space:
    """A tick of reaping just now, unbroken since then."""
    return {bench.keys.reaper: {"since": bench.recent.later(-since_ago), "last": bench.recent}}


def reap(bench: Bench, limit: int = 200) -> tuple[int, bool, list[str]]:
    """Reaps with the usual times."""
    return tuple(bench.scripts.reap(LEASE, GAP, LIMIT, limit))  # type: ignore[return-value]


# Renew.


def test_a_lease_begins_with_join(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    assert bench.space == bench.lease()


def test_a_lease_is_extended(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.silence(WORKER, LONG_AGO)
    assert bench.scripts.renew(WORKER)
    assert bench.space == bench.lease()


def test_a_lease_that_was_taken_away_is_not_extended(bench: Bench) -> None:
    assert not bench.scripts.renew(WORKER)
    assert bench.space == {}


def test_a_lease_from_a_clock_that_was_ahead_is_set_right(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.silence(WORKER, -HOUR)
    assert bench.scripts.renew(WORKER)
    assert bench.space == bench.lease()


def test_a_full_server_takes_no_lease_away(bench: Bench) -> None:
    """Otherwise live workers would be reaped, and their jobs started again beside themselves, as soon as there is
    room for the reaper to tick.
    """
    bench.scripts.join(WORKER)
    bench.silence(WORKER, LONG_AGO)
    with bench.full_memory():
        assert bench.scripts.renew(WORKER)
    assert bench.space == bench.lease()


# Retire.


def test_claims_of_a_retired_worker_go_to_the_front_in_order(bench: Bench) -> None:
    bench.hold(b"a", b"b", b"c")
    bench.push(b"d")
    bench.scripts.retire(WORKER, counted=False, crash_limit=LIMIT)
    assert bench.space == {**bench.ready(b"a", b"b", b"c", b"d"), **bench.wake(3)}


def test_the_order_is_that_of_numbers(bench: Bench) -> None:
    raws = [b"%d" % i for i in range(30)]
    bench.hold(*raws)
    bench.scripts.retire(WORKER, counted=False, crash_limit=LIMIT)
    assert bench.space == {**bench.ready(*raws), **bench.wake(30)}


def test_claims_are_counted_as_crashes_where_that_is_what_happened(bench: Bench) -> None:
    bench.hold(b"a", b"b")
    bench.scripts.retire(WORKER, counted=True, crash_limit=LIMIT)
    assert bench.space == {**bench.ready(b"a", b"b"), **bench.wake(2), **counts(bench, b"a", b"b")}


def test_the_crash_that_reaches_the_limit_buries(bench: Bench) -> None:
    bench.hold(b"a", b"b")
    bench.client.hset(bench.keys.deliveries, sha_of(b"a"), f"4:{LIMIT - 1}:1")
    bench.scripts.retire(WORKER, counted=True, crash_limit=LIMIT)
    assert bench.space == {
        **bench.ready(b"b"),
        **bench.wake(1),
        **counts(bench, b"b"),
        **bench.dead(b"a", "buried", "its process died 3 times", deliveries=5),
    }


def test_a_worker_without_a_crash_buries_nothing(bench: Bench) -> None:
    bench.hold(b"a")
    bench.client.hset(bench.keys.deliveries, sha_of(b"a"), f"4:{LIMIT - 1}:1")
    bench.scripts.retire(WORKER, counted=False, crash_limit=LIMIT)
    assert bench.space == {
        **bench.ready(b"a"),
        **bench.wake(1),
        bench.keys.deliveries: {sha_of(b"a"): b"4:2:1"},
    }


def test_each_message_goes_back_to_its_queue_and_step(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"a", step=3)
    bench.push(b"b", queue="post", step=9)
    bench.claim(Source(QUEUE, 3), Source("post", 9))
    bench.scripts.retire(WORKER, counted=False, crash_limit=LIMIT)
    assert bench.space == {
        **bench.ready(b"a", step=3),
        **bench.ready(b"b", queue="post", step=9),
        **bench.wake(1),
        **bench.wake(1, queue="post"),
    }


def test_all_claimers_of_a_worker_give_back(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    for child, step in ((1, 0), (2, 3)):
        bench.push(b"%d" % child, step=step)
        bench.claim(Source(QUEUE, step), claimer=f"{WORKER}/{child}")
    bench.scripts.retire(WORKER, counted=False, crash_limit=LIMIT)
    assert bench.space == {**bench.ready(b"1"), **bench.ready(b"2", step=3), **bench.wake(2)}


def test_other_workers_keep_their_claims(bench: Bench) -> None:
    bench.hold(b"a")
    before = bench.space
    bench.scripts.join(BEE)
    bench.push(b"b")
    bench.scripts.claim(BEE, BEE, 0, [Source(QUEUE, 0)])
    bench.scripts.retire(BEE, counted=False, crash_limit=LIMIT)
    assert bench.space == {**before, **bench.ready(b"b"), **bench.wake(1)}


def test_a_worker_that_holds_nothing_leaves_nothing(bench: Bench) -> None:
    bench.hold(b"a")
    bench.settle("ack")
    bench.scripts.retire(WORKER, counted=True, crash_limit=LIMIT)
    assert bench.space == {}


def test_a_worker_that_never_was_leaves_nothing(bench: Bench) -> None:
    bench.scripts.retire(WORKER, counted=True, crash_limit=LIMIT)
    assert bench.space == {}


def test_a_slice_takes_the_newest_claims_and_says_that_there_are_more(bench: Bench) -> None:
    bench.hold(b"a", b"b", b"c")
    assert bench.scripts.call("retire", WORKER, 0, LIMIT, 2) == [2, 1]
    space = bench.holding(t1_0=b"a")
    del space[bench.keys.leases]
    assert bench.space.items() >= {**space, **bench.ready(b"b", b"c"), **bench.wake(2)}.items()
    assert bench.keys.leases not in bench.space


def test_slices_leave_the_old_order(bench: Bench) -> None:
    raws = [b"%d" % i for i in range(7)]
    bench.hold(*raws)
    replies = [bench.scripts.call("retire", WORKER, 0, LIMIT, 3) for _ in range(3)]
    assert replies == [[3, 1], [3, 1], [1, 0]]
    assert bench.space == {**bench.ready(*raws), **bench.wake(7)}


def test_a_last_slice_that_is_just_filled_needs_no_other(bench: Bench) -> None:
    bench.hold(b"a", b"b")
    assert bench.scripts.call("retire", WORKER, 0, LIMIT, 2) == [2, 0]
    assert bench.space == {**bench.ready(b"a", b"b"), **bench.wake(2)}


def test_nothing_is_claimed_between_two_slices(bench: Bench) -> None:
    bench.hold(b"a", b"b")
    bench.scripts.call("retire", WORKER, 0, LIMIT, 1)
    assert not bench.claim(base=2).has_lease
    assert not bench.scripts.renew(WORKER)


def test_a_tick_of_reaping_between_two_slices_counts_no_crash(bench: Bench) -> None:
    bench.hold(b"a", b"b")
    bench.ticking(LONG_AGO)
    bench.scripts.call("retire", WORKER, 0, LIMIT, 1)
    reap(bench)
    bench.scripts.call("retire", WORKER, 0, LIMIT, 1)
    assert bench.space == {**bench.ready(b"a", b"b"), **bench.wake(2), **ticks(bench, LONG_AGO)}


def test_any_bytes_come_back_unharmed(bench: Bench) -> None:
    raws = bytes(range(256)), b"", b"\xff" * 2_000_000
    for base, raw in enumerate(raws):
        bench.hold(raw) if not base else (bench.push(raw), bench.claim(base=base))
    bench.scripts.retire(WORKER, counted=True, crash_limit=LIMIT)
    assert bench.space == {**bench.ready(*raws), **bench.wake(3), **counts(bench, *raws)}


@pytest.mark.parametrize("counted", [True, False])
def test_a_full_server_lets_workers_retire(bench: Bench, counted: bool) -> None:
    bench.hold(b"a")
    with bench.full_memory():
        bench.scripts.retire(WORKER, counted=counted, crash_limit=LIMIT)
    assert bench.space.items() >= bench.ready(b"a").items()


# Reap.


def test_the_first_tick_reaps_nobody(bench: Bench) -> None:
    bench.hold(b"a")
    bench.silence(WORKER, LONG_AGO)
    before = bench.space
    assert reap(bench) == (0, False, [])
    assert bench.space == {**before, **ticks(bench)}


def test_nobody_is_reaped_before_the_ticks_are_unbroken_for_a_lease(bench: Bench) -> None:
    bench.hold(b"a")
    bench.silence(WORKER, LONG_AGO)
    bench.ticking(LEASE // 2)
    before = bench.space
    assert reap(bench) == (0, False, [])
    assert bench.space == {**before, **ticks(bench, LEASE // 2)}


def test_a_silent_worker_is_reaped_once_the_ticks_are_unbroken_for_a_lease(bench: Bench) -> None:
    bench.hold(b"a", b"b")
    bench.push(b"c")
    bench.silence(WORKER, LEASE)
    bench.ticking(LEASE)
    assert reap(bench) == (2, False, [WORKER])
    assert bench.space == {
        **bench.ready(b"a", b"b", b"c"),
        **bench.wake(2),
        **counts(bench, b"a", b"b"),
        **ticks(bench, LEASE),
    }


def test_a_worker_that_was_silent_for_less_than_a_lease_stays(bench: Bench) -> None:
    bench.hold(b"a")
    bench.silence(WORKER, LEASE // 2)
    bench.ticking(LONG_AGO)
    before = bench.space
    assert reap(bench) == (0, False, [])
    assert bench.space == {**before, **ticks(bench, LONG_AGO)}


def test_ticks_with_a_gap_begin_anew(bench: Bench) -> None:
    """The server was stopped for that long, and every worker looks silent."""
    bench.hold(b"a")
    bench.silence(WORKER, LONG_AGO)
    now = bench.now
    bench.client.hset(bench.keys.reaper, mapping={"since": now - 2 * LONG_AGO, "last": now - GAP - 1})
    before = bench.space
    assert reap(bench) == (0, False, [])
    assert bench.space == {**before, **ticks(bench)}


def test_ticks_within_the_gap_are_unbroken(bench: Bench) -> None:
    bench.hold(b"a")
    bench.silence(WORKER, LONG_AGO)
    now = bench.now
    bench.client.hset(bench.keys.reaper, mapping={"since": now - LONG_AGO, "last": now - GAP + 1000})
    assert reap(bench) == (1, False, [WORKER])


def test_ticks_from_the_future_begin_anew(bench: Bench) -> None:
    """The clock was set back."""
    bench.hold(b"a")
    bench.silence(WORKER, LONG_AGO)
    bench.client.hset(bench.keys.reaper, mapping={"since": bench.now + HOUR, "last": bench.now + 2 * HOUR})
    before = bench.space
    assert reap(bench) == (0, False, [])
    assert bench.space == {**before, **ticks(bench)}


def test_a_lease_from_the_future_ends_a_lease_from_now(bench: Bench) -> None:
    """The clock was set back, and this worker died before: without this its claims would stay for an hour."""
    bench.hold(b"a")
    bench.silence(WORKER, -HOUR)
    bench.ticking(LONG_AGO)
    before = bench.space
    assert reap(bench) == (0, False, [])
    assert bench.space == {**before, **bench.lease(), **ticks(bench, LONG_AGO)}


def test_a_clock_set_forward_reaps_nobody_who_renews(bench: Bench) -> None:
    """Everything in the keys is an hour old; the next tick comes before the next renewal, the one after a lease not."""
    bench.hold(b"a")
    bench.silence(WORKER, HOUR)
    now = bench.now
    bench.client.hset(bench.keys.reaper, mapping={"since": now - 2 * HOUR, "last": now - HOUR})
    assert reap(bench) == (0, False, [])
    assert bench.scripts.renew(WORKER)
    bench.ticking(LEASE)
    assert reap(bench) == (0, False, [])
    assert bench.space == {**bench.holding(t1_0=b"a"), **ticks(bench, LEASE)}


def test_the_live_keep_their_claims_beside_the_reaped(bench: Bench) -> None:
    bench.hold(b"a")
    before = bench.space
    bench.scripts.join(BEE)
    bench.push(b"b")
    bench.scripts.claim(BEE, BEE, 0, [Source(QUEUE, 0)])
    bench.silence(BEE, LONG_AGO)
    bench.ticking(LONG_AGO)
    assert reap(bench) == (1, False, [BEE])
    assert bench.space == {
        **before,
        **bench.ready(b"b"),
        **bench.wake(1),
        **counts(bench, b"b"),
        **ticks(bench, LONG_AGO),
    }


def test_a_worker_is_reported_once_and_reaped_in_slices(bench: Bench) -> None:
    raws = [b"%d" % i for i in range(5)]
    bench.hold(*raws)
    bench.silence(WORKER, LONG_AGO)
    bench.ticking(LONG_AGO)
    assert [reap(bench, limit=2) for _ in range(4)] == [
        (2, True, [WORKER]),
        (2, True, []),
        (1, False, []),
        (0, False, []),
    ]
    assert bench.space == {**bench.ready(*raws), **bench.wake(5), **counts(bench, *raws), **ticks(bench, LONG_AGO)}


def test_a_slice_holds_over_all_workers(bench: Bench) -> None:
    for worker in (WORKER, BEE):
        bench.scripts.join(worker)
        bench.push(b"%s 1" % worker.encode(), b"%s 2" % worker.encode())
        bench.scripts.claim(worker, worker, 0, [Source(QUEUE, 0)])
        bench.silence(worker, LONG_AGO)
    bench.ticking(LONG_AGO)
    replies = [reap(bench, limit=3) for _ in range(2)]
    assert [(given_back, more) for given_back, more, _ in replies] == [(3, True), (1, False)]
    assert sorted(replies[0][2]) == sorted([WORKER, BEE])
    assert len(bench.space[bench.keys.ready(QUEUE, 0)]) == 4
    assert bench.keys.dying not in bench.space


def test_the_reaped_are_buried_at_the_limit_and_count_as_given_back(bench: Bench) -> None:
    bench.hold(b"a")
    bench.client.hset(bench.keys.deliveries, sha_of(b"a"), f"2:{LIMIT - 1}:1")
    bench.silence(WORKER, LONG_AGO)
    bench.ticking(LONG_AGO)
    assert reap(bench) == (1, False, [WORKER])
    assert bench.space == {
        **bench.dead(b"a", "buried", "its process died 3 times", deliveries=3),
        **ticks(bench, LONG_AGO),
    }


def test_a_worker_that_is_dying_already_is_finished_by_anybody(bench: Bench) -> None:
    """Who retired it died between two slices."""
    bench.hold(b"a", b"b")
    bench.scripts.call("retire", WORKER, 1, LIMIT, 1)
    bench.ticking(LONG_AGO)
    assert reap(bench) == (1, False, [])
    assert bench.space == {
        **bench.ready(b"a", b"b"),
        **bench.wake(2),
        **counts(bench, b"a", b"b"),
        **ticks(bench, LONG_AGO),
    }


def test_a_worker_reaped_while_it_holds_nothing_leaves_nothing(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.silence(WORKER, LONG_AGO)
    bench.ticking(LONG_AGO)
    assert reap(bench) == (0, False, [WORKER])
    assert bench.space == ticks(bench, LONG_AGO)


def test_a_flush_of_the_scripts_is_not_noticed(bench: Bench) -> None:
    bench.hold(b"a")
    bench.silence(WORKER, LONG_AGO)
    bench.ticking(LONG_AGO)
    bench.client.script_flush()
    assert bench.scripts.renew(WORKER)
    bench.client.script_flush()
    assert reap(bench) == (0, False, [])


def test_a_full_server_ticks(bench: Bench) -> None:
    """A worker's death must give its claims back in bounded time, also when the server is full of other things."""
    bench.hold(b"a")
    bench.silence(WORKER, LONG_AGO)
    bench.ticking(LONG_AGO)
    with bench.full_memory():
        assert reap(bench) == (1, False, [WORKER])


def test_the_worker_of_a_name_with_the_separator_of_keys_gives_back(bench: Bench) -> None:
    worker = "a:b@host:6379/00000001"
    bench.scripts.join(worker)
    bench.push(b"a", queue="x:y:0")
    bench.scripts.claim(worker, f"{worker}/1", 0, [Source("x:y:0", 0)])
    held = f"held:{worker}/1{FIELD_SEPARATOR}x:y:0"
    assert held in bench.space[bench.keys.worker(worker)]
    bench.scripts.retire(worker, counted=False, crash_limit=LIMIT)
    assert bench.space == {**bench.ready(b"a", queue="x:y:0"), **bench.wake(1, queue="x:y:0")}


def test_times_are_those_of_the_server(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    low = bench.now
    bench.scripts.renew(WORKER)
    assert bench.space == {bench.keys.leases: {WORKER.encode(): Between(low, bench.now)}}
