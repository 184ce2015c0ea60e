"""Where a job waits, told from the notes that publishing has left, on Redis and on Valkey."""

from penstock.broker.waiting import find_notes
from penstock.job import State
from tests.broker.bench import Bench
from tests.broker.messages import raw_message
from tests.broker.test_queues import block

QUEUES = ["mail", "reports"]


def publish(bench: Bench, id: str, queue: str, due_ms: int = 0) -> None:
    assert bench.scripts.publish("p", bench.now, queue, 0, [(id, raw_message(id))], due_ms)


def test_a_job_is_found_on_the_queue_that_it_waits_in(bench: Bench) -> None:
    publish(bench, "1", "reports")
    (note,) = find_notes(bench.client, bench.keys, [("1", QUEUES)])
    assert note is not None
    assert (note.state, note.queue, note.since_ms == bench.recent) == (State.QUEUED, "reports", True)
    assert find_notes(bench.client, bench.keys, [("1", ["mail"])]) == [None]


def test_a_job_that_is_due_later_is_scheduled(bench: Bench) -> None:
    due = bench.now + 60_000
    publish(bench, "1", "mail", due)
    assert find_notes(bench.client, bench.keys, [("1", QUEUES)]) == [(State.SCHEDULED, "mail", due)]


def test_a_job_that_is_put_aside_is_blocked_wherever_it_was(bench: Bench) -> None:
    block(bench, "1")
    assert find_notes(bench.client, bench.keys, [("1", QUEUES)]) == [(State.BLOCKED, None, None)]


def test_nothing_is_noted_of_a_job_that_nobody_knows(bench: Bench) -> None:
    assert find_notes(bench.client, bench.keys, [("1", [])]) == [None]
