"""What is made of a job's row and attempts: events in their order, and phases without gaps."""

from penstock.job import Reason, State
from penstock.ledger.rows import AttemptRow, JobRow
from penstock.operations.jobs.timeline import What, beginning, events, phases
from tests.operations.jobs.lives import NOW, START, at, attempt, job


def told(row: JobRow, *attempts: AttemptRow) -> list[tuple[What, float]]:
    return [(event.what, (event.at - START).total_seconds()) for event in events(row, attempts, [], NOW)]


def lengths(row: JobRow, *attempts: AttemptRow) -> list[tuple[str, float]]:
    return [(phase.name, phase.seconds(NOW)) for phase in phases(row, attempts)]


def test_a_job_waits_and_runs() -> None:
    assert lengths(job(), attempt(1, 4, 10)) == [("waits", 4), ("attempt 1", 6)]
    assert told(job(), attempt(1, 4, 10)) == [(What.ENQUEUED, 0), (What.STARTED, 4), (What.ENDED, 10)]


def test_between_two_attempts_it_waits() -> None:
    found = lengths(job(), attempt(1, 1, 2, "retried"), attempt(2, 8, 10))
    assert found == [("waits", 1), ("attempt 1", 1), ("waits", 6), ("attempt 2", 2)]


def test_an_attempt_that_runs_goes_on_until_now() -> None:
    row = job(state=State.RUNNING, finished_at=None, started_at=at(4))
    assert lengths(row, attempt(1, 4, None, None)) == [("waits", 4), ("attempt 1", 96)]
    assert told(row, attempt(1, 4, None, None))[-1] == (What.STARTED, 4)


def test_a_job_that_waits_for_its_retry_waits_until_now_and_says_when_it_is_due() -> None:
    row = job(state=State.SCHEDULED, finished_at=None, eta=at(150), retries=1)
    assert lengths(row, attempt(1, 1, 2, "retried"))[-1] == ("waits", 98)
    assert told(row, attempt(1, 1, 2, "retried"))[-1] == (What.DUE, 150)


def test_a_job_that_was_for_later_says_when_it_was_due() -> None:
    assert told(job(eta=at(3)), attempt(1, 4, 10))[1] == (What.DUE, 3)


def test_a_blocked_job_says_since_when_and_why() -> None:
    row = job(state=State.BLOCKED, reason=Reason.UNKNOWN_TASK, finished_at=None, updated_at=at(5), attempts=0)
    assert told(row) == [(What.ENQUEUED, 0), (What.BLOCKED, 5)]
    assert events(row, [], [], NOW)[-1].text == "put aside: unknown task"
    assert lengths(row) == [("waits", 100)]


def test_a_job_whose_process_has_died_waits_again() -> None:
    row = job(state=State.QUEUED, reason=Reason.CRASHED, finished_at=None, updated_at=at(6))
    found = events(row, [attempt(1, 1, 6, "crashed")], [], NOW)
    assert [event.what for event in found[-2:]] == [What.WAITS, What.ENDED] or found[-1].what is What.WAITS
    assert any(event.text.startswith("crashed: its process died, after 5s") for event in found)


def test_a_job_that_ended_without_an_attempt_has_waited_until_then() -> None:
    row = job(state=State.CANCELLED, reason=Reason.EXPIRED, attempts=0)
    assert lengths(row) == [("waits", 10)]
    assert events(row, [], [], NOW)[-1].text == "cancelled (expired)"


def test_a_job_that_nobody_knows_the_beginning_of_begins_with_its_first_attempt() -> None:
    row = job(enqueued_at=None)
    assert beginning(row, [attempt(1, 4, 10)]) == at(4)
    assert lengths(row, attempt(1, 4, 10)) == [("attempt 1", 6)]


def test_a_clock_that_is_behind_makes_no_phase_negative() -> None:
    assert lengths(job(), attempt(1, -2, 10)) == [("waits", 0), ("attempt 1", 12)]
    assert beginning(job(), [attempt(1, -2, 10)]) == at(-2)


def test_an_attempt_whose_end_nobody_recorded_says_so() -> None:
    found = events(job(), [attempt(1, 1, None, None), attempt(2, 4, 10)], [], NOW)
    assert found[1].text.endswith("; its end was never recorded")
    assert not found[2].text.endswith("recorded")


def test_the_reason_of_the_end_stands_at_the_last_attempt() -> None:
    row = job(state=State.FAILED, reason=Reason.TIMEOUT)
    found = events(row, [attempt(1, 1, 2, "retried"), attempt(2, 4, 10, "failed")], [], NOW)
    assert [event.text for event in found if event.what is What.ENDED] == [
        "retried, after 1s",
        "failed (timeout), after 6s",
    ]


def test_a_reason_that_is_the_rule_is_not_told() -> None:
    row = job(state=State.FAILED, reason=Reason.ERROR)
    assert events(row, [attempt(1, 4, 10, "failed")], [], NOW)[-1].text == "failed, after 6s"


def test_what_made_the_job_stands_at_its_beginning() -> None:
    assert events(job(schedule="nightly"), [], [], NOW)[0].text == "enqueued by schedule nightly"
    assert events(job(replay_of="old"), [], [], NOW)[0].text == "enqueued as a replay of old"
