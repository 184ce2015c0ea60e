"""What is told of queues, and what acting on them leaves behind, on Redis and on Valkey."""

import pytest

from penstock.broker import queues
from penstock.broker.queues import QueueStatus
from penstock.broker.scripts import SLICE, Source
from tests.broker.bench import QUEUE, WORKER, Bench
from tests.broker.messages import raw_message


def status(bench: Bench, queue: str = QUEUE) -> QueueStatus:
    (found,) = queues.status(bench.scripts, [queue])
    return found


def purge(bench: Bench) -> dict[str, int]:
    """Purges and counts what went, by place."""
    gone: dict[str, int] = {}
    for place, raws in queues.purge(bench.scripts, QUEUE):
        gone[place] = gone.get(place, 0) + len(raws)
    return gone


def block(bench: Bench, *ids: str, task: str = "none.such", base: int = 0) -> None:
    """Puts jobs aside as a worker does that does not know their task."""
    bench.scripts.join(WORKER)
    bench.push(*(raw_message(id, task=task) for id in ids))
    for id, message in zip(ids, bench.claim(base=base).messages, strict=True):
        bench.settle("block", task, id, token=message.token)


def test_an_empty_queue_has_nothing_in_it(bench: Bench) -> None:
    assert status(bench) == QueueStatus(QUEUE, 0, None, 0, 0, 0, None)


def test_the_ready_messages_of_all_steps_are_counted(bench: Bench) -> None:
    bench.push(b"a", b"b")
    bench.push(b"c", step=9)
    assert status(bench).ready == 3


def test_the_oldest_age_is_that_of_the_message_that_waits_longest(bench: Bench) -> None:
    bench.push(raw_message("1", age=50), raw_message("2", age=5))
    bench.push(raw_message("3", age=500), step=3)
    assert status(bench).oldest_seconds == pytest.approx(500, abs=30)


def test_a_message_that_does_not_say_when_it_was_enqueued_has_no_age(bench: Bench) -> None:
    bench.push(b"not json")
    assert status(bench).oldest_seconds is None


def test_claims_are_in_flight_until_they_are_settled(bench: Bench) -> None:
    bench.hold(b"a", b"b")
    assert (status(bench).ready, status(bench).in_flight) == (0, 2)
    bench.settle("ack")
    assert status(bench).in_flight == 1


def test_parked_and_blocked_messages_are_counted_apart(bench: Bench) -> None:
    block(bench, "1", "2")
    bench.publish(b"later", due_ms=bench.now + 60_000)
    found = status(bench)
    assert (found.ready, found.parked, found.blocked) == (0, 1, 2)


def test_several_queues_are_told_in_the_order_that_is_asked_for(bench: Bench) -> None:
    bench.push(b"a", queue="one")
    bench.push(b"b", b"c", queue="two")
    found = queues.status(bench.scripts, ["two", "one", "three"])
    assert [(status.queue, status.ready) for status in found] == [("two", 2), ("one", 1), ("three", 0)]


def test_more_queues_than_are_asked_for_at_once_are_told_alike(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "SLICE", 2)
    for name in "abcde":
        bench.push(name.encode(), queue=name)
    found = queues.status(bench.scripts, list("abcdef"))
    assert [(status.queue, status.ready) for status in found] == [*((name, 1) for name in "abcde"), ("f", 0)]


def test_known_are_queues_that_were_published_to_or_paused_or_hold_something_aside(bench: Bench) -> None:
    bench.publish(b"a", queue="published")
    queues.pause(bench.scripts, "paused", "ada@host")
    block(bench, "1")
    assert queues.names(bench.scripts) == [QUEUE, "paused", "published"]


def test_a_pause_is_told_with_its_reason(bench: Bench) -> None:
    queues.pause(bench.scripts, QUEUE, "ada@host", "the API is down")
    pause = status(bench).pause
    assert pause is not None
    assert (pause.by, pause.note) == ("ada@host", "the API is down")
    assert bench.recent == pause.at.timestamp() * 1000 + 1000


def test_nothing_is_claimed_from_a_paused_queue(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"a")
    queues.pause(bench.scripts, QUEUE, "ada@host")
    assert bench.claim().messages == []


def test_a_second_pause_gives_the_one_that_it_replaces(bench: Bench) -> None:
    assert queues.pause(bench.scripts, QUEUE, "ada@host", "first") is None
    before = queues.pause(bench.scripts, QUEUE, "bob@host", "second")
    assert before is not None
    assert before.note == "first"


def test_a_backlog_of_a_paused_queue_wakes_nobody(bench: Bench) -> None:
    """Each token would cause an empty claim, and the watcher would push the next one for the same backlog."""
    bench.push(b"a", b"b")
    queues.pause(bench.scripts, QUEUE, "ada")
    assert bench.scripts.call("wake", QUEUE, 0, 3, 6, 9) == 2
    assert bench.client.llen(bench.keys.wake(QUEUE)) == 0


def test_a_resumed_queue_is_claimed_from_and_wakes_who_is_idle(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"a", b"b")
    queues.pause(bench.scripts, QUEUE, "ada@host")
    assert queues.resume(bench.scripts, QUEUE)
    assert bench.client.llen(bench.keys.wake(QUEUE)) == 2
    assert [message.raw for message in bench.claim().messages] == [b"a", b"b"]


def test_resuming_an_open_queue_says_so(bench: Bench) -> None:
    assert not queues.resume(bench.scripts, QUEUE)


def test_a_purge_takes_what_waits_and_leaves_what_is_in_flight(bench: Bench) -> None:
    bench.hold(b"running")
    bench.push(b"a", b"b")
    bench.push(b"c", step=6)
    bench.publish(b"later", due_ms=bench.now + 60_000)
    assert purge(bench) == {"ready": 3, "parked": 1}
    assert status(bench) == QueueStatus(QUEUE, 0, None, 1, 0, 0, None)
    assert bench.settle("ack") == 1


def test_a_purge_of_more_than_a_slice_takes_all(bench: Bench) -> None:
    bench.push(*(b"%d" % n for n in range(SLICE * 2 + 1)))
    assert purge(bench) == {"ready": SLICE * 2 + 1}
    assert status(bench).ready == 0


def test_a_purge_gives_the_very_messages_that_went(bench: Bench) -> None:
    bench.push(b"a")
    bench.publish(b"parked", due_ms=0)
    assert [raw for _, raws in queues.purge(bench.scripts, QUEUE) for raw in raws] == [b"a", b"parked"]


def test_a_purge_takes_blocked_messages_and_forgets_that_their_jobs_are_blocked(bench: Bench) -> None:
    block(bench, "1", "2")
    bench.client.hset(bench.keys.blocked, "elsewhere", "unknown task other")
    assert purge(bench) == {"blocked": 2}
    assert bench.client.hgetall(bench.keys.blocked) == {b"elsewhere": b"unknown task other"}
    assert not bench.client.exists(bench.keys.unknown)


def test_a_purge_takes_its_jobs_off_the_waiting_index_and_no_others(bench: Bench) -> None:
    bench.scripts.publish("p", 1, QUEUE, 0, [("1", raw_message("1"))])
    purged = queues.purge(bench.scripts, QUEUE)
    next(purged)
    bench.scripts.publish("p", 2, QUEUE, 0, [("2", raw_message("2"))])
    assert list(purged) == []
    assert bench.client.zrange(bench.keys.waiting(QUEUE), 0, -1) == [b"2"]
    assert status(bench).ready == 1


def test_another_queue_is_not_purged(bench: Bench) -> None:
    bench.push(b"a", queue="other")
    assert purge(bench) == {}
    assert status(bench, "other").ready == 1


def test_discarding_an_unknown_task_leaves_those_of_other_tasks(bench: Bench) -> None:
    block(bench, "1")
    block(bench, "2", task="other.task", base=1)
    none, other = queues.unknown_tasks(bench.scripts)
    assert (none.task, other.task) == ("none.such", "other.task")
    assert len([raw for raws in queues.discard_unknown(bench.scripts, none) for raw in raws]) == 1
    assert queues.unknown_tasks(bench.scripts) == [other]


def test_peeking_shows_what_would_be_claimed_next_and_takes_nothing(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"second step", step=3)
    bench.push(raw_message("1"), b"not json", raw_message("3"))
    before = bench.space
    peeked = list(queues.peek(bench.scripts, QUEUE, 10))
    assert bench.space == before
    sources = [Source(QUEUE, step) for step in (0, 3, 6, 9)]
    assert [message.raw for message in peeked] == [message.raw for message in bench.claim(*sources).messages]
    assert [message.step for message in peeked] == [0, 0, 0, 3]
    assert peeked[0].payload is not None
    assert "not JSON" in peeked[1].problem


def test_peeking_shows_no_more_than_it_is_asked_for(bench: Bench) -> None:
    bench.push(b"a", b"b", b"c")
    bench.push(b"d", step=9)
    assert [message.raw for message in queues.peek(bench.scripts, QUEUE, 2)] == [b"a", b"b"]


def test_the_oldest_and_the_newest_message_of_an_unknown_task_tell_their_times(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(raw_message("1", age=500), raw_message("2", age=50), b"not json")
    first, second, third = bench.claim().messages
    bench.settle("block", "none.such", "1", token=first.token)
    bench.settle("block", "none.such", "2", token=second.token)
    bench.settle("block", "other", "3", token=third.token)
    (known, other) = queues.ends_of(bench.scripts, queues.unknown_tasks(bench.scripts))
    assert known[0] is not None
    assert known[1] is not None
    assert (known[1] - known[0]) / 1000 == pytest.approx(450, abs=10)
    assert other == (None, None)
