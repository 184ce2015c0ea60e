"""What people do to queues: the outbox goes along."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from penstock import Job
from penstock.app import PenstockApp
from penstock.broker.scripts import Settlement, Source
from penstock.cli.queues import queues
from penstock.cli.release import release
from penstock.engine.keeping.burial import bury_slice
from penstock.job import State
from penstock.ledger import outbox
from penstock.ledger.session import reading
from tests import jobs
from tests.cli.conftest import run_with
from tests.outbox.ground import Ground

WORKER = "worker/00000001"


@pytest.fixture
def job(app: PenstockApp, ground: Ground) -> Job[int]:
    """A job that was put into the outbox and is not published."""
    return enqueue(ground)


def done(app: PenstockApp, command: Any, *arguments: str) -> str:
    """What the command says when it succeeds."""
    result = run_with(app, command, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def enqueue(ground: Ground, **options: Any) -> Job[int]:
    engine = create_engine(ground.database_url)
    with Session(engine) as session:
        made = jobs.add.options(session=session, **options).enqueue(1, 2)
        session.commit()
    engine.dispose()
    return made


def known(ground: Ground) -> list[str]:
    """Keys of the messages that Redis has."""
    return [key.decode() for key in ground.client.hkeys(ground.keys.outbox)]


def comes_back(ground: Ground) -> int:
    """How many messages the reconciler finds lost."""
    ground.age()
    relay = ground.relay()
    relay.reconcile_slice()
    return relay.turn()


def test_what_is_purged_is_gone_for_good(app: PenstockApp, ground: Ground, job: Job[int]) -> None:
    ground.relay().turn()
    done(app, queues, "purge", "default", "--yes")
    assert (known(ground), ground.published, comes_back(ground)) == ([], [], 0)
    assert job.refresh().state is State.CANCELLED


def test_what_celery_purges_comes_back_once_so_that_its_end_can_be_recorded(
    app: PenstockApp, ground: Ground, job: Job[int]
) -> None:
    ground.relay().turn()
    app.control.purge()
    assert ground.client.llen("default") == 0
    assert comes_back(ground) == 1
    assert ground.client.zscore(ground.keys.revoked, job.id) is not None


def test_a_purge_that_dies_before_it_has_recorded_anything_has_purged_nothing(
    app: PenstockApp, ground: Ground, job: Job[int]
) -> None:
    from penstock.broker.queues import purge

    ground.relay().turn()
    for _ in purge(ground.scripts, "default"):
        pass
    assert comes_back(ground) == 1
    assert ground.client.llen("default") == 1


def test_a_buried_job_leaves_the_outbox_when_its_letter_is_in_the_ledger(
    app: PenstockApp, ground: Ground, job: Job[int]
) -> None:
    ground.relay().turn()
    ground.scripts.join(WORKER)
    ground.scripts.claim(WORKER, WORKER, 0, [Source("default", 0)])
    ground.scripts.settle([Settlement(WORKER, "default", "1:0", "bury", "too bad", job.id)])
    assert (known(ground), comes_back(ground)) == ([job.id], 0)
    bury_slice(ground.scripts, ground.database_url)
    assert (known(ground), ground.published, comes_back(ground)) == ([], [], 0)
    assert job.refresh().state is State.FAILED


def test_a_release_publishes_what_waits_and_what_was_lost_and_forgets_the_rest(
    app: PenstockApp, ground: Ground, job: Job[int]
) -> None:
    ground.relay().turn()
    ground.client.delete("default", ground.keys.outbox)
    later = enqueue(ground, at=datetime.now(UTC) + timedelta(days=1))
    assert json.loads(done(app, release, "--all", "--json"))["outbox"] == 2
    assert ground.client.llen("default") == 2
    assert (known(ground), ground.waiting, ground.published) == ([], [], [])
    assert later.id in str(ground.client.lrange("default", 0, -1))


def test_a_release_says_what_it_has_published(app: PenstockApp, ground: Ground, job: Job[int]) -> None:
    assert "of the outbox went to their queues for the first time" in done(app, release, "--all")


def test_the_outbox_shows_what_waits_and_what_is_published(app: PenstockApp, ground: Ground, job: Job[int]) -> None:
    with reading(ground.database_url) as connection:
        before = outbox.find_waiting(connection, job.id)
    ground.relay().turn()
    with reading(ground.database_url) as connection:
        after = outbox.find_waiting(connection, job.id)
        assert outbox.find_waiting(connection, "another") is None
    assert before is not None
    assert after is not None
    assert (before.key, before.task, before.queue, before.state) == (job.id, job.task, "default", State.QUEUED)
    assert (before.published_at is None, after.published_at is None) == (True, False)
