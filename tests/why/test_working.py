"""Why a job waits while a worker is there: each reason is brought about for real, on one worker of one child."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from celery import chain, chord, group

from penstock import enqueue_many
from penstock.broker import whereabouts
from penstock.job import State
from penstock.ledger.letters import LetterFilter, list_letters
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.session import reading, writing
from penstock.operations.queues import pause, resume
from tests import jobs
from tests.ledger.making import end_attempt, start_attempt
from tests.live import Worker, wait_for
from tests.why.ground import Ground, stopped

pytestmark = pytest.mark.slow
DONE = 20


@pytest.fixture(scope="module")
def worker(ground: Ground) -> Iterator[Worker]:
    """Claims from the queue ``default`` alone."""
    with ground.worker() as running:
        ground.becomes(jobs.add.enqueue(1, 2).id, "ended")
        yield running


@pytest.fixture(autouse=True)
def _is_there(worker: Worker) -> None:
    """For all tests here."""


def test_a_queue_that_no_worker_serves(ground: Ground) -> None:
    job = jobs.add.options(queue="elsewhere").enqueue(1, 2)
    found = job.why()
    assert found.sentence == "none of the workers serves its queue elsewhere"
    assert found.facts["Workers that serve it"] == "none"
    assert asyncio.run(job.awhy()).sentence == found.sentence


def test_a_job_behind_others_while_all_are_busy(ground: Ground, worker: Worker) -> None:
    held, gate = ground.hold()
    first, last = jobs.add.enqueue(1, 2), jobs.add.enqueue(3, 4)
    name = ground.why(held).facts["Worker"]
    assert ground.told(held) == f"it runs: it started now on {name}"
    busy = f"and all that serve it are busy: {name}"

    def told() -> bool:
        return ground.told(last.id) == f"1 job came before it on default, {busy}"

    wait_for(lambda: told() or ground.why(last.id).facts.get("Jobs before it") == 0, "it waits")
    wait_for(lambda: ground.told(first.id) == f"it is the next of default, {busy}", "it is the next")
    gate.touch()
    assert last.result(DONE) == 7
    assert ground.told(last.id) == "it has ended: succeeded now"


def test_where_too_much_is_claimed_to_look_at_all_of_it_that_is_said(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, gate = ground.hold()
    waiting = jobs.add.enqueue(1, 2)
    monkeypatch.setattr(whereabouts, "MOST_MESSAGES", 0)
    assert waiting.why().facts["Claims"] == "too many to look at all of them; it may have been claimed"
    gate.touch()
    assert waiting.result(DONE) == 3


def test_a_task_that_no_worker_knows(ground: Ground) -> None:
    id = ground.app.send_task("late.task", (1,), queue="default").id
    found = ground.becomes(id, "unknown-task")
    assert found.sentence.startswith("no worker that has seen it knows the task late.task; it starts by itself")
    assert found.facts["Unknown task"] == "late.task"


def test_a_rate_limit(ground: Ground) -> None:
    ground.app.control.rate_limit("tests.jobs.echo", "2/m")
    wait_for(lambda: ground.app.control.inspect().stats(), "it has heard")
    try:
        first, second = jobs.echo.enqueue(1), jobs.echo.enqueue(2)
        assert first.result(DONE) == 1
        found = ground.becomes(second.id, "rate-limited")
        assert found.sentence.startswith("the rate limit of its task puts it off; it is due in ")
        assert found.facts["Due"] > datetime.now(UTC)
        assert second.refresh().state is State.SCHEDULED
    finally:
        ground.app.control.rate_limit("tests.jobs.echo", 0)


def test_a_later_step_of_a_chain(ground: Ground) -> None:
    gate = ground.folder / "chain"
    steps = chain(
        ground.app.signature("tests.progressing", (str(gate),)),
        ground.app.signature("tests.jobs.echo", immutable=True, args=(1,)),
    )
    last = steps.apply_async()
    found = ground.becomes(last.id, "step-of-chain")
    assert found.sentence == (
        f"it is a later step of a chain, and comes when job {last.parent.id} has succeeded, which has not ended"
    )
    gate.touch()
    ground.becomes(last.id, "ended")


def test_the_body_of_a_chord_and_its_group(ground: Ground) -> None:
    gate = ground.folder / "chord"
    parts = [ground.app.signature("tests.jobs.echo", (1,)), ground.app.signature("tests.progressing", (str(gate),))]
    body = chord(group(parts), ground.app.signature("tests.jobs.echo")).apply_async()
    wait_for(lambda: ground.why(body.id).facts.get("Parts that have ended") == 1, "a part has ended", 30)
    assert ground.told(body.id) == "it is the body of a chord and waits for 1 part of 2; 1 have ended"
    assert ground.told(body.parent.id) == "it is the group of a chord and waits for 1 part of 2; 1 have ended"
    gate.touch()
    ground.becomes(body.id, "ended")


def test_a_job_that_has_killed_its_process_is_in_the_dead_letters(ground: Ground) -> None:
    id = jobs.kill_own_process.enqueue().id
    found = ground.becomes(id, "ended")
    wait_for(lambda: "Dead letter" in ground.why(id).facts, "it is in the ledger")
    assert ground.told(id) == (
        "it has ended: failed now (crashed); it is in the dead letters: its process died once"
    ), found.facts


def test_a_message_without_a_readable_id_is_quarantined(ground: Ground) -> None:
    ground.redis.lpush("default", "not json")

    def letter() -> str | None:
        with reading(ground.app.settings.database_url) as connection:
            found = list_letters(connection, LetterFilter(reason="JSON"), 1)
        return found[0].id if found else None

    found = ground.why(wait_for(letter, "it is in the ledger"))
    assert found.names == ["quarantined"]
    assert found.sentence.startswith("it is quarantined since ")
    assert found.sentence.endswith("; nobody runs it before somebody replays it")


def test_a_job_that_has_expired_while_its_queue_was_paused(ground: Ground) -> None:
    pause(ground.app, "default", "the bank is down", actor="otto")
    try:
        id = jobs.add.options(expires=0.01).enqueue(1, 2).id
        assert ground.told(id) == "its queue default was paused now by otto (the bank is down)"
    finally:
        resume(ground.app, "default", actor="otto")
    ground.becomes(id, "ended")
    assert ground.told(id) == "it has ended: cancelled now (expired)"


def test_a_message_that_redis_has_lost(ground: Ground) -> None:
    id = ground.in_transaction("elsewhere")
    ground.becomes(id, "nobody-serves")
    ground.redis.delete("elsewhere", ground.keys.waiting("elsewhere"))
    ground.redis.hdel(ground.keys.outbox, id)
    found = ground.becomes(id, "lost")
    assert (
        found.sentence
        == "Redis has lost its message; the outbox has it, and a running worker brings it back within minutes"
    )


def test_a_redis_without_memory_takes_nothing_from_the_outbox(ground: Ground) -> None:
    ground.redis.config_set("maxmemory", "1mb")
    try:
        id = ground.in_transaction()
        found = ground.becomes(id, "redis-full")
        assert found.names == ["in-outbox", "redis-full"]
        assert "; Redis has no memory left (" in found.sentence
    finally:
        ground.redis.config_set("maxmemory", "0")
    ground.becomes(id, "ended")


def test_a_worker_that_was_told_to_claim_no_more(ground: Ground) -> None:
    control = ground.app.control
    control.broadcast("stop_claiming", reply=True)
    try:
        id = jobs.add.enqueue(1, 2).id
        found = ground.becomes(id, "workers-stopped")
        name = found.facts["Workers that were stopped"]
        assert (
            found.sentence == f"none of the workers serves its queue default; {name} did, and was told to claim no more"
        )
    finally:
        control.broadcast("claim_again", reply=True)
    ground.becomes(id, "ended")


def test_a_job_that_a_child_has_claimed_behind_another(ground: Ground, worker: Worker) -> None:
    """The keeper stands still, or it would take the job back half a second later; its like would replace it."""
    for job in enqueue_many(jobs.add.bind(number, 0) for number in range(200)):
        job.result(DONE)  # Quick ones: the child claims several at once.
    pause(ground.app, "default", "", actor="otto")
    first, second = jobs.sleep.enqueue(2), jobs.add.enqueue(1, 2)
    with stopped(worker.pid, worker.zygote, worker.keeper):
        resume(ground.app, "default", actor="otto")
        found = ground.becomes(second.id, "behind-another")
    assert found.sentence.endswith(f" has claimed it, and a child of it runs job {first.id} first")
    assert second.result(DONE) == 3


def test_a_worker_that_is_not_heard_of_and_what_it_has_claimed(ground: Ground, worker: Worker) -> None:
    held, gate = ground.hold()
    waiting = jobs.add.enqueue(1, 2)
    with stopped(worker.pid, worker.zygote, worker.keeper):
        found = ground.becomes(held, "runs-on-silent-worker")
        assert ", and the job goes back to its queue" in found.sentence
        assert "its lease ends" in found.sentence
        silent = ground.becomes(waiting.id, "workers-silent")
        assert silent.sentence.startswith("of all workers that serve its queue default nothing is heard: ")
    gate.touch()
    assert waiting.result(DONE) == 3


def test_what_waits_for_the_ledger(ground: Ground) -> None:
    with ground.ledger_away():
        assert ground.why("nobody").names == ["ledger-silent"]
        kept = jobs.add.enqueue(1, 2)
        found = ground.becomes(kept.id, "outcome-kept")
        assert " has claimed it, and cannot write to the ledger since " in found.sentence
        unreadable = ground.send_unreadable()
        assert ground.becomes(unreadable, "buried").sentence.startswith("it was buried ")
        asking = ground.in_transaction()
        found = ground.becomes(asking, "at-the-gate")
        assert " has claimed it and may not start it before the ledger agrees, which does not answer" in found.sentence
    assert kept.result(DONE) == 3
    for id in (asking, unreadable):
        ground.becomes(id, "ended")


def test_workers_that_claim_nothing_before_the_ledger_has_what_they_have(ground: Ground) -> None:
    with ground.ledger_away():
        ground.becomes(jobs.add.enqueue(1, 2).id, "outcome-kept")
        jobs.sleep.enqueue(3)
        behind = jobs.add.enqueue(3, 4)
        found = ground.becomes(behind.id, "workers-keep")
        assert " keep what has ended, as long as they have room; they cannot write to it since " in found.sentence
        enqueue_many(jobs.echo.bind("x" * 900_000) for _ in range(40))
        last = jobs.add.enqueue(5, 6)
        found = ground.becomes(last.id, "workers-rest")
        assert " rest until the ledger has taken what they have; they cannot write to it since " in found.sentence
    assert last.result(DONE) == 11


def test_a_job_that_waits_again_after_an_attempt(ground: Ground) -> None:
    delivery = Delivery(id="again", task="tests.jobs.add", queue="default", args=[1, 2], kwargs={}, worker="here")
    with writing(ground.app.settings.database_url) as connection:
        start_attempt(connection, delivery)
        end_attempt(connection, delivery, Outcome(state=State.QUEUED))
    found = ground.becomes("again", "on-the-move")
    assert found.sentence == "a worker has just claimed it, or Redis has lost it and is told again"
    _, gate = ground.hold()
    assert ground.becomes("again", "waits-again").sentence.startswith("it waits again in default, and all that serve")
    gate.touch()


def test_an_id_that_nobody_has_heard_of(ground: Ground) -> None:
    found = ground.why("nobody")
    assert found.names == ["unknown"]
    assert found.sentence.startswith("neither the ledger nor Redis has heard of it: it was never submitted here")


def test_asking_takes_a_constant_number_of_round_trips(ground: Ground) -> None:
    def trips() -> int:
        def processed() -> int:
            stats: Any = ground.redis.info("commandstats")
            return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("info", "hgetall", "zrange"))

        before = processed()
        last.why()
        return processed() - before

    last = jobs.add.options(queue="elsewhere").enqueue(1, 2)
    few = trips()
    for number in range(500):
        jobs.add.options(queue="elsewhere").enqueue(number, 0)
    assert abs(trips() - few) <= 20
