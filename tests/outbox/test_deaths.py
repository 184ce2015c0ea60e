"""A relay that is killed at whatever step: the job is there once."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.live import ROOT, wait_for
from tests.outbox.ground import Ground
from tests.outbox.holding import HoldingProxy


@contextmanager
def killed_at(ground: Ground, kind: str, marker: bytes, *, arrives: bool) -> Iterator[None]:
    """Starts a keeper's process and kills it, after the block, while it waits for the answer to its publication.

    Args:
        arrives: whether Redis gets the publication.
    """
    with HoldingProxy(ground.broker_url, marker, arrives=arrives) as proxy:
        command = [sys.executable, "-m", "tests.outbox.dying", kind, proxy.url, ground.database_url]
        process = subprocess.Popen(command, cwd=ROOT)
        try:
            assert proxy.was_reached.wait(30)
            yield
        finally:
            process.kill()
            process.wait()


def relay_all(ground: Ground) -> None:
    """What the next keeper does; PostgreSQL may take a moment to notice that the last one is dead."""
    relay = ground.relay()

    def is_done() -> bool:
        relay.turn()
        return not ground.waiting

    wait_for(is_done, "nothing waits")


def test_a_relay_that_dies_before_redis_has_the_message_leaves_it_to_the_next(ground: Ground) -> None:
    ground.put("marked")
    with killed_at(ground, "relay", b"marked", arrives=False):
        assert ground.ready == []
    relay_all(ground)
    assert (ground.ready, ground.published) == (["marked"], ["marked"])


def test_a_relay_that_dies_between_publishing_and_its_commit_leaves_one_message(ground: Ground) -> None:
    ground.put("marked")
    with killed_at(ground, "relay", b"marked", arrives=True):
        wait_for(lambda: ground.ready, "Redis has the message")
        assert ground.published == []
    relay_all(ground)
    assert (len(ground.ready), ground.published) == (1, ["marked"])


def test_a_keeper_that_dies_between_its_commit_and_publishing_leaves_it_to_the_reconciler(ground: Ground) -> None:
    with killed_at(ground, "follow-up", b"next", arrives=False):
        assert (ground.ready, ground.published) == ([], ["next"])
    ground.age()
    ground.relay().reconcile_slice()
    relay_all(ground)
    assert (ground.ready, ground.published) == (["next"], ["next"])


def test_a_keeper_that_dies_before_it_hears_that_redis_has_the_message_leaves_one(ground: Ground) -> None:
    with killed_at(ground, "follow-up", b"next", arrives=True):
        wait_for(lambda: ground.ready, "Redis has the message")
    ground.age()
    ground.relay().reconcile_slice()
    relay_all(ground)
    assert len(ground.ready) == 1
