"""At each step of its work a beat is killed with `kill -9`: no fire is lost, and none comes twice."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.scheduler.live.beats import Beat, together, wait_for
from tests.scheduler.live.conftest import NewGround
from tests.scheduler.live.ground import Ground
from tests.scheduler.live.steps import DEADLY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Deaths:
    """What was there after a beat had died at each step, and the others had ended in order."""

    ground: Ground
    codes: dict[str, int | None]
    unpublished: set[str]
    """Jobs that were started and were on no queue when a beat had died between the two."""


@pytest.fixture(scope="module")
def deaths(database: str, new_ground: NewGround) -> Iterator[Deaths]:
    """One death after the other, while others are at work, two to the end. No worker takes what they start."""
    with new_ground(database, "fast") as ground:
        found = Deaths(ground, {}, set())
        doomed = {step: ground.halting_beat(step, "SIGKILL") for step in DEADLY}
        with together(ground.beat(), ground.beat(), *(beat for beat, _ in doomed.values())):
            for step, (beat, armed) in doomed.items():
                before = unpublished(ground)
                armed.touch()
                found.codes[step] = died(beat)
                ground.judged()
                if step == "committed and not published":
                    found.unpublished.update(unpublished(ground) - before)
                ground.judged()
        yield found


def died(beat: Beat) -> int:
    """The exit code."""
    assert beat.process is not None
    wait_for(lambda: beat.has_ended, "the beat has died")
    return int(beat.process.returncode)


def unpublished(ground: Ground) -> set[str]:
    """Jobs that are in the books and on no queue, and are not just on their way."""
    started = set(ground.books.started)
    ground.await_fires(10)
    return started - set(ground.in_redis())


def test_at_each_step_a_beat_has_died(deaths: Deaths) -> None:
    assert deaths.codes == dict.fromkeys(DEADLY, -signal.SIGKILL)


def test_every_planned_time_has_one_fire_all_the_same(deaths: Deaths) -> None:
    deaths.ground.judged()


def test_what_was_committed_and_not_published_is_on_no_queue_yet(deaths: Deaths) -> None:
    assert deaths.unpublished
    assert deaths.unpublished <= set(deaths.ground.books.outbox)


def test_the_reconciler_of_a_worker_publishes_that_and_each_job_runs_once(deaths: Deaths) -> None:
    with deaths.ground.worker():
        deaths.ground.assert_done_once()
