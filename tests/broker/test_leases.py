"""Leases as they are shown: how old they are, and which workers end."""

import pytest

from penstock.broker.leases import leases
from tests.broker.bench import LIMIT, WORKER, Bench


def test_a_lease_tells_its_worker_and_its_age(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.silence(WORKER, 7_000)
    (lease,) = leases(bench.scripts)
    assert (lease.worker, lease.hostname, lease.draining_seconds) == (WORKER, "ant@host", None)
    assert lease.renewed_seconds_ago == pytest.approx(7, abs=2)


def test_a_worker_that_ends_says_since_when(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    assert bench.scripts.drain(WORKER)
    (lease,) = leases(bench.scripts)
    assert lease.draining_seconds == pytest.approx(0, abs=2)


def test_nothing_is_left_of_a_worker_that_has_ended(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.scripts.drain(WORKER)
    bench.scripts.retire(WORKER, counted=False, crash_limit=LIMIT)
    assert bench.space == {}


def test_a_worker_without_a_lease_leaves_no_word_that_nobody_clears_away(bench: Bench) -> None:
    assert not bench.scripts.drain(WORKER)
    assert bench.space == {}
