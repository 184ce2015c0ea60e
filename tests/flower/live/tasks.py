"""What jobs do on the deployments that Flower's pages are tested on."""

from __future__ import annotations

import os
import time
from pathlib import Path

from penstock import Retry, current_job, task


@task(queue="default")
def add(x: int, y: int = 1) -> int:
    """Succeeds."""
    return x + y


@task(queue="default")
def fail(message: str, password: str = "hidden-from-eyes") -> None:  # noqa: S107
    """Fails."""
    raise ValueError(message)


@task(queue="default")
def wait_at_gate() -> str:
    """Runs until the test opens the gate."""
    gate = Path(os.environ["FLOWER_TESTS_GATE"])
    while not gate.exists():
        time.sleep(0.02)
    return "went through"


@task(queue="default")
def crash() -> None:
    """Takes its process with it."""
    os.kill(os.getpid(), 9)


@task(queue="default")
def spawn(count: int) -> list[str]:
    """Submits jobs of its own."""
    return [add.enqueue(number).id for number in range(count)]


@task(queue="default", retry=Retry(attempts=3, base=0.2))
def succeed_at(attempt: int) -> int:
    """Fails until then."""
    job = current_job()
    assert job is not None
    if job.attempt < attempt:
        raise ConnectionError(f"attempt {job.attempt}, token=hidden-from-eyes")
    return job.attempt


@task(queue="default")
def charge(order: int, card_token: str) -> int:
    """Is given a secret."""
    del card_token
    return order


@task(queue="default", retry=Retry(attempts=2, base=5))
def try_again_later() -> None:
    """Fails, and waits some seconds for its next attempt."""
    raise ConnectionError("nobody answers yet")
