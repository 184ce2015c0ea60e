"""What type checkers know of the test kit. Nothing here runs."""

from datetime import UTC, datetime
from typing import Any, assert_type
from unittest.mock import ANY

from calls import Order, count, price_of, ship

from penstock import Job
from penstock.testing import KILL_POINTS, Attempt, Crash, Drained, Enqueued, Fire, Jobs, KillPoint


def of_jobs(jobs: Jobs) -> None:
    assert_type(jobs.enqueued(ship), list[Enqueued[Order]])
    assert_type(jobs.enqueued(ship)[0].job, Job[Order])
    assert_type(jobs.enqueued(count)[0].job.result(0), int)
    assert_type(jobs.enqueued(), list[Enqueued[Any]])
    assert_type(jobs.enqueued("shop.ship"), list[Enqueued[Any]])
    assert_type(jobs.assert_enqueued(ship, order=ANY, queue="mail", within=60, count=2), Enqueued[Any])
    jobs.assert_not_enqueued(price_of, arguments={"queue": 1})
    assert_type(jobs.drain("mail", raises=True), Drained)
    assert_type(jobs.attempts, list[Attempt])
    assert_type(jobs.clock.advance(days=1, drain=True), list[Fire])
    assert_type(jobs.clock.move_to(datetime.now(UTC)), list[Fire])


def of_crashes(jobs: Jobs) -> None:
    step: KillPoint = KILL_POINTS[0]
    with jobs.inline(raises=False), jobs.kill(step) as crash:
        ship.enqueue(Order(1, ANY))
    assert_type(crash, Crash)
    assert_type(crash.starts, int)
    jobs.crash_everywhere(lambda: count.enqueue("a", "b"), lambda crash: crash.job.refresh(), steps=("in body",))


def of_mistakes(jobs: Jobs) -> None:
    jobs.kill("at lunch")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    jobs.clock.advance(weeks=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    jobs.assert_enqueued(ship, queue=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
