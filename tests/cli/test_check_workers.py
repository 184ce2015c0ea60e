"""`check --workers`: a worker that answers, and one that makes progress, are two things."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError

from penstock.cli.check import check
from penstock.engine import health
from tests.cli.conftest import run_with
from tests.conftest import Live
from tests.live import wait_for

pytestmark = pytest.mark.slow


def findings(live: Live, *options: str) -> list[dict[str, Any]]:
    result = run_with(live.app, check, *options, "--json")
    return json.loads(result.stdout)["findings"]


@pytest.fixture
def _standing_still(live: Live) -> Iterator[None]:
    """The worker's parent process does nothing; its keeper goes on renewing the lease."""
    os.kill(live.worker.process.pid, signal.SIGSTOP)
    yield
    os.kill(live.worker.process.pid, signal.SIGCONT)


def test_a_worker_that_claims_is_well(live: Live) -> None:
    def well() -> bool:
        (found,) = findings(live, "--workers")
        return bool(found["passed"]) and "serves" in found["text"]

    wait_for(well, "the worker answers")


@pytest.mark.usefixtures("_standing_still")
def test_a_worker_that_holds_a_lease_and_does_not_answer_is_named(live: Live) -> None:
    (found,) = findings(live, "--workers")
    assert not found["passed"]
    assert "does not answer" in found["text"]


def test_a_worker_that_is_not_there_fails_its_probe(live: Live) -> None:
    (found,) = findings(live, "--worker", "nobody@nowhere")
    assert (found["name"], found["passed"]) == ("nobody@nowhere", False)


def test_a_connection_that_ends_in_the_middle_is_a_finding(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: Any) -> None:
        raise ConnectionError("Connection closed by server.")

    monkeypatch.setattr(health, "health", cut)
    (found,) = findings(live, "--workers")
    assert (found["name"], found["passed"]) == ("redis", False)
    assert "closed by server" in found["text"]


@pytest.mark.parametrize(
    ("answer", "backlog", "healthy"),
    [
        ({"has_room": True, "claimed_seconds_ago": 9.0}, {"default": 3}, False),
        ({"has_room": True, "claimed_seconds_ago": None}, {"default": 3}, False),
        ({"has_room": True, "claimed_seconds_ago": 1.0}, {"default": 3}, True),
        ({"has_room": False, "claimed_seconds_ago": 900.0}, {"default": 3}, True),
        ({"has_room": True, "claimed_seconds_ago": 9.0}, {"default": 0, "other": 3}, True),
        ({"worker": "", "has_room": True, "claimed_seconds_ago": 1.0}, {}, False),
    ],
)
def test_only_a_worker_with_room_and_jobs_that_wait_has_to_claim(
    answer: dict[str, Any], backlog: dict[str, int], healthy: bool
) -> None:
    told = {"worker": "a/1", "held": 0, "queues": ["default"], **answer}
    assert health.judge("a", told, backlog).healthy is healthy
