"""How many jobs a child claims at once."""

from penstock.engine.running.pace import CLAIM_SECONDS, SLOW_SECONDS, Flow, Pace

MOST = 200


def paced(pace: Pace, seconds: float, claims: int, task: str = "quick") -> int:
    """What it claims after so many claims of jobs that took so long."""
    for _ in range(claims):
        count = pace.count()
        pace.claimed(count)
        for _ in range(count):
            pace.note(task, seconds)
    return pace.count()


def test_a_child_that_knows_nothing_claims_one_job() -> None:
    assert Pace(MOST).count() == 1


def test_claims_of_quick_jobs_grow_to_the_most_that_there_is() -> None:
    assert paced(Pace(MOST), 0.0001, claims=20) == MOST


def test_a_claim_is_at_most_twice_as_large_as_the_one_before() -> None:
    pace = Pace(MOST)
    for _ in range(100):
        pace.note("quick", 0.0001)
    pace.claimed(3)
    assert pace.count() == 6


def test_a_claim_takes_about_as_long_as_it_should() -> None:
    count = paced(Pace(MOST), 0.005, claims=30)
    assert 0.5 * CLAIM_SECONDS <= count * 0.005 <= CLAIM_SECONDS


def test_slow_jobs_are_claimed_one_at_a_time() -> None:
    assert paced(Pace(MOST), 1.0, claims=3) == 1


def test_one_slow_job_counts_at_once() -> None:
    pace = Pace(MOST)
    assert paced(pace, 0.0001, claims=20) == MOST
    pace.note("slow", 1.0)
    assert pace.count() == 1


def test_only_the_task_that_has_been_slow_is_slow() -> None:
    pace = Pace(MOST)
    pace.note("slow", 2 * SLOW_SECONDS)
    pace.note("quick", 0.001)
    assert pace.is_slow("slow")
    assert not pace.is_slow("quick")
    assert not pace.is_slow("unknown")


def flowing(ended: int, now: float) -> tuple[Flow, Pace]:
    """After so many quick jobs in the second before ``now``."""
    flow, pace = Flow(MOST), Pace(MOST)
    flow.measure(0, now - 1)
    flow.measure(ended, now)
    pace.note("quick", CLAIM_SECONDS)
    pace.note("quick", 0.001)
    return flow, pace


def test_as_many_may_wait_for_a_place_as_end_in_the_time_of_a_claim() -> None:
    flow, pace = flowing(1000, now=100.0)
    assert flow.ahead(pace) == 1000 * CLAIM_SECONDS
    flow, pace = flowing(100_000, now=100.0)
    assert flow.ahead(pace) == MOST


def test_none_waits_where_jobs_take_as_long_as_a_claim_should() -> None:
    flow, pace = flowing(1000, now=100.0)
    pace.note("other", CLAIM_SECONDS)
    assert flow.ahead(pace) == 0


def test_a_moment_says_nothing() -> None:
    flow, pace = flowing(1000, now=100.0)
    flow.measure(1001, now=100.001)
    assert flow.ahead(pace) == 1000 * CLAIM_SECONDS


def test_those_that_wait_are_stuck_when_fewer_end_than_wait() -> None:
    flow, _ = flowing(1000, now=100.0)
    assert not flow.is_stuck(1000, 0, now=100.0)
    assert not flow.is_stuck(1000, 20, now=100.0 + SLOW_SECONDS / 2)
    assert not flow.is_stuck(1030, 20, now=100.0 + SLOW_SECONDS)
    assert flow.is_stuck(1040, 20, now=100.0 + 2 * SLOW_SECONDS)


def test_none_waits_after_some_have_waited_for_long() -> None:
    flow, pace = flowing(1000, now=100.0)
    assert flow.is_stuck(1100, 20, now=200.0)
    assert flow.ahead(pace) == 0
    flow.measure(1100, now=200.1)
    assert flow.ahead(pace) == 0
