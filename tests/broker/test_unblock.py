"""Unblock and unindex: what was put aside returns to the end of its queue; what was claimed leaves the indexes."""

import pytest

from tests.broker.bench import QUEUE, WORKER, Bench

REASON = b"unknown task demo.x"


def block(bench: Bench, *raws: bytes, task: str = "demo.x", step: int = 0, queue: str = QUEUE) -> str:
    """Claims messages and puts them aside; the key of their list."""
    bench.hold(*raws, step=step)
    for place in range(1, len(raws) + 1):
        bench.settle("block", task, f"j{place}", token=f"{place}:{step}")
    return bench.keys.unknown_list(queue, step, task)


def blocked(bench: Bench, jobs: int) -> dict[str, object]:
    """Jobs that are noted as blocked, which they are until they are claimed."""
    return {bench.keys.blocked: {f"j{place}": REASON for place in range(1, jobs + 1)}}


def test_messages_return_to_the_end_of_their_queue_in_order(bench: Bench) -> None:
    key = block(bench, b"a", b"b")
    bench.push(b"c")
    assert bench.scripts.unblock(key) == (2, False)
    assert bench.space == {
        **bench.idle(),
        **bench.ready(b"c", b"a", b"b"),
        **bench.wake(2),
        **blocked(bench, 2),
    }


def test_messages_return_to_their_step(bench: Bench) -> None:
    key = block(bench, b"a", step=6)
    bench.scripts.unblock(key)
    assert bench.space == {**bench.idle(), **bench.ready(b"a", step=6), **bench.wake(1), **blocked(bench, 1)}


def test_slices_keep_the_order_and_say_that_there_are_more(bench: Bench) -> None:
    raws = [b"%d" % i for i in range(5)]
    key = block(bench, *raws)
    assert [bench.scripts.unblock(key, limit=2) for _ in range(4)] == [(2, True), (2, True), (1, False), (0, False)]
    assert bench.space == {**bench.idle(), **bench.ready(*raws), **bench.wake(5), **blocked(bench, 5)}


def test_a_last_slice_that_is_just_filled_needs_no_other(bench: Bench) -> None:
    key = block(bench, b"a", b"b")
    assert bench.scripts.unblock(key, limit=2) == (2, False)


def test_a_list_that_is_not_there_is_no_trouble(bench: Bench) -> None:
    assert bench.scripts.unblock(bench.keys.unknown_list(QUEUE, 0, "demo.x")) == (0, False)
    assert bench.space == {}


def test_a_key_that_is_no_list_of_an_unknown_task_is_left_alone(bench: Bench) -> None:
    bench.push(b"a")
    assert bench.scripts.unblock(bench.keys.ready(QUEUE, 0)) == (0, False)
    assert bench.space == bench.ready(b"a")


def test_other_tasks_stay_aside(bench: Bench) -> None:
    bench.hold(b"a", b"b")
    bench.settle("block", "demo.x", token="1:0")
    bench.settle("block", "demo.y", token="2:0")
    bench.scripts.unblock(bench.keys.unknown_list(QUEUE, 0, "demo.x"))
    other = bench.keys.unknown_list(QUEUE, 0, "demo.y")
    assert bench.space == {
        **bench.idle(),
        **bench.ready(b"a"),
        **bench.wake(1),
        other: [b"b"],
        bench.keys.unknown: {other: f"demo.y\x1f{QUEUE}\x1f0".encode()},
    }


SEPARATED = "a\x1fb"


@pytest.mark.parametrize(
    "task", [SEPARATED, "", "a:b:3:c", "\n", "%d ä", "x" * 10_000], ids=lambda task: repr(task[:20])
)
def test_whatever_its_name_a_task_loses_no_message(bench: Bench, task: str) -> None:
    """The name is what somebody wrote into a message."""
    key = block(bench, b"a", task=task)
    assert bench.scripts.unblock(key) == (1, False)
    assert bench.space == {
        **bench.idle(),
        **bench.ready(b"a"),
        **bench.wake(1),
        bench.keys.blocked: {"j1": f"unknown task {task}".encode()},
    }


def test_any_bytes_return_unharmed(bench: Bench) -> None:
    raws = bytes(range(256)), b"", b"\xff\xfe"
    bench.scripts.unblock(block(bench, *raws))
    assert bench.space == {**bench.idle(), **bench.ready(*raws), **bench.wake(3), **blocked(bench, 3)}


def test_a_large_slice_is_no_trouble(bench: Bench) -> None:
    key = block(bench, b"0")
    bench.client.lpush(key, *[b"%d" % i for i in range(1, 10_000)])
    assert bench.scripts.unblock(key, limit=20_000) == (10_000, False)


def test_a_flush_of_the_scripts_is_not_noticed(bench: Bench) -> None:
    key = block(bench, b"a")
    bench.client.script_flush()
    assert bench.scripts.unblock(key) == (1, False)


# Unindex.


def test_a_claimed_job_leaves_the_index_of_its_queue(bench: Bench) -> None:
    bench.scripts.publish("p", 1, QUEUE, 0, [("j1", b"a"), ("j2", b"b")])
    bench.scripts.publish("p", 2, "post", 0, [("j1", b"c")])
    before = bench.space
    bench.scripts.unindex([(QUEUE, "j1")])
    assert bench.space == {**before, bench.keys.waiting(QUEUE): {b"j2": bench.recent}}


def test_the_last_job_takes_the_index_with_it(bench: Bench) -> None:
    bench.client.zadd(bench.keys.waiting(QUEUE), {"j1": 1})
    bench.scripts.unindex([(QUEUE, "j1")])
    assert bench.space == {}


def test_a_claimed_job_is_not_blocked_any_more(bench: Bench) -> None:
    key = block(bench, b"a", b"b")
    bench.scripts.unblock(key)
    bench.scripts.unindex([(QUEUE, "j1")])
    assert bench.space[bench.keys.blocked] == {"j2": REASON}


def test_jobs_that_are_not_there_are_no_trouble(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.scripts.unindex([(QUEUE, "j1"), ("post", "")])
    bench.scripts.unindex([])
    assert bench.space == bench.lease()
