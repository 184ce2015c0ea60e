"""Why a job waits when workers are not there, or not any more: each reason is brought about for real."""

import os
import signal
from contextlib import ExitStack, suppress

import pytest

from penstock.broker import whereabouts
from penstock.broker.scripts import Scripts
from tests import jobs
from tests.live import wait_for
from tests.scheduler.ground import Ground as Schedules
from tests.why.ground import Ground

pytestmark = pytest.mark.slow


def test_a_job_of_a_transaction_that_nobody_publishes(ground: Ground) -> None:
    id = ground.in_transaction()
    assert ground.told(id) == (
        "its message is in the outbox since now and not in Redis yet; no worker runs that would bring it there"
    )
    assert ground.why(id).names == ["in-outbox"]


def test_a_fire_that_waits_for_the_job_of_an_earlier_one(ground: Ground) -> None:
    with Schedules(ground.app) as schedules:
        schedules.add(schedules.sums(overlap="buffer all"), since=1)
        schedules.changes.backfill("sums", schedules.hour(-2))
        schedules.look()
        found = ground.why("sums")
        assert found.names == ["fire-waits"]
        assert found.sentence.startswith("the fire of schedule sums that was planned for ")
        assert found.sentence.endswith(f"waits for job {found.facts['Waits for']}, which has not ended")


def test_a_worker_that_ends(ground: Ground) -> None:
    with ground.worker() as worker:
        _, gate = ground.hold()
        waiting = jobs.add.enqueue(1, 2)
        os.kill(worker.pid, signal.SIGTERM)
        found = ground.becomes(waiting.id, "workers-drain")
        name = found.facts["Workers that end"]
        assert found.sentence == f"none of the workers serves its queue default; {name} ends, and claims no more"
        gate.touch()
        assert worker.stop() == 0
    assert waiting.why().names == ["nobody-serves"]


def test_an_outcome_that_a_worker_has_left_in_redis(ground: Ground) -> None:
    with ground.worker() as worker:
        ended = jobs.add.enqueue(1, 2)
        ended.result(20)
        with ground.ledger_away():
            left = jobs.add.enqueue(3, 4)
            ground.becomes(left.id, "outcome-kept")
            worker.stop()
            found = ground.becomes(left.id, "outcome-in-spool")
            assert found.sentence.startswith("it has run, and its outcome waits in Redis: its worker ended while")
    with ground.worker():
        assert left.result(20) == 7


def test_a_worker_that_has_died_with_all_its_processes(ground: Ground) -> None:
    with ground.worker() as worker, ExitStack() as away:
        jobs.add.enqueue(1, 2).result(20)  # What others have left on the queue has ended.
        away.enter_context(ground.ledger_away())
        claimed = jobs.sleep.enqueue(60)
        scripts = Scripts(ground.redis, ground.keys)
        wait_for(lambda: whereabouts.find(scripts, claimed.id).claim, "it is claimed")
        for pid in (worker.keeper, worker.zygote, *worker.children, worker.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        found = ground.becomes(claimed.id, "worker-died")
        assert " has claimed it and was not heard of for " in found.sentence
        assert found.facts["Lease ends in"]
        wait_for(lambda: "its lease has run out, and the job goes back" in ground.told(claimed.id), "it has run out")
