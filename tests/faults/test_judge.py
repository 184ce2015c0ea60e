"""What the judge calls lost, doubled and stuck."""

from dataclasses import replace

import pytest

from tests.faults.effects import COMMITTED, END, RETRIED, START, Effect
from tests.faults.judge import Evidence, Fate, Outcome, Verdict, judge

JOB = "job"
FIRST, SECOND = 101, 102


def start(at: float, attempt: str = "a", pid: int = FIRST, job: str = JOB) -> Effect:
    return Effect(START, pid, at, job, attempt)


def end(at: float, attempt: str = "a", pid: int = FIRST, job: str = JOB) -> Effect:
    return Effect(END, pid, at, job, attempt)


def committed(at: float, pid: int = FIRST) -> Effect:
    return Effect(COMMITTED, pid, at, JOB)


def verdict(*effects: Effect, **rest: object) -> Verdict:
    """The verdict on one job that was accepted at 0 and whose outcome, unless told, is that of attempt a."""
    evidence = Evidence({JOB: 0.0}, effects, outcomes={JOB: Outcome(True, "a")})
    return judge(replace(evidence, **rest))  # type: ignore[arg-type]


def test_a_job_that_ran_once_and_is_in_the_store_is_fine() -> None:
    assert not verdict(start(1), end(2), committed(2.1)).damaged


def test_a_job_that_left_no_trace_is_lost() -> None:
    assert verdict(outcomes={}).lost == {JOB}


def test_a_job_that_failed_without_a_reason_of_its_own_is_lost() -> None:
    assert verdict(start(1), outcomes={JOB: Outcome(False)}, deaths={FIRST: 1.5}).lost == {JOB}


def test_a_job_that_still_waits_is_stuck() -> None:
    assert verdict(outcomes={}, traces={JOB}).stuck == {JOB}


def test_a_job_that_still_runs_is_stuck() -> None:
    assert verdict(start(1), outcomes={}).stuck == {JOB}


def test_a_job_without_an_outcome_in_the_store_is_stuck() -> None:
    assert verdict(start(1), end(2), outcomes={}).stuck == {JOB}


def test_a_start_beside_a_living_one_is_doubled() -> None:
    assert verdict(start(1), start(2, "b", SECOND), end(3), end(4, "b", SECOND)).doubled == {JOB}


def test_a_second_start_of_a_job_that_was_to_start_once_is_doubled_whoever_died() -> None:
    again = (start(1), end(2), start(3, "b", SECOND), end(4, "b", SECOND), committed(4.1, SECOND))
    killed = {"deaths": {FIRST: 2.5}, "killed": {FIRST}, "outcomes": {JOB: Outcome(True, "b")}}
    assert not verdict(*again, **killed).damaged
    assert verdict(*again, **killed, once={JOB}).doubled == {JOB}


def test_a_start_after_the_result_was_stored_is_doubled() -> None:
    again = (start(5, "b", SECOND), end(6, "b", SECOND))
    assert verdict(start(1), end(2), committed(2.1), *again, deaths={FIRST: 3}).doubled == {JOB}


def test_a_start_after_a_result_that_a_killed_process_stored_is_repeated() -> None:
    again = (start(5, "b", SECOND), end(6, "b", SECOND))
    seen = verdict(start(1), end(2), committed(2.1), *again, deaths={FIRST: 3}, killed={FIRST})
    assert (seen.repeated, seen.doubled) == ({JOB}, set())


def test_a_start_after_an_end_in_a_living_process_is_doubled() -> None:
    assert verdict(start(1), end(2), start(5, "b", SECOND), end(6, "b", SECOND)).doubled == {JOB}


def test_a_start_after_a_killed_one_is_excused_and_counts_as_recovery() -> None:
    seen = verdict(start(1), start(3, "b", SECOND), end(4, "b", SECOND), deaths={FIRST: 2.5}, outcomes=outcome("b"))
    assert not seen.damaged
    assert seen.recovery == pytest.approx(0.5)


def test_a_start_before_the_death_of_the_former_is_doubled() -> None:
    seen = verdict(start(1), start(3, "b", SECOND), end(4, "b", SECOND), deaths={FIRST: 3.5}, outcomes=outcome("b"))
    assert seen.doubled == {JOB}


def test_a_start_after_an_end_that_was_killed_before_its_commit_is_excused() -> None:
    again = (start(3, "b", SECOND), end(4, "b", SECOND))
    assert not verdict(start(1), end(2), *again, deaths={FIRST: 2.5}, outcomes=outcome("b")).damaged


def test_a_retry_that_was_asked_for_is_excused() -> None:
    asked = Effect(RETRIED, FIRST, 1.5, JOB)
    assert not verdict(start(1), asked, start(2, "b"), end(3, "b"), outcomes=outcome("b")).damaged


def test_a_result_of_an_attempt_that_never_ended_is_wrong() -> None:
    seen = verdict(start(1), start(3, "b", SECOND), end(4, "b", SECOND), deaths={FIRST: 2.5}, outcomes=outcome("a"))
    assert seen.wrong == {JOB}


def test_an_outcome_that_changed_is_wrong() -> None:
    assert verdict(start(1), end(2), changed={JOB}).wrong == {JOB}


def test_a_revoked_job_that_ran_is_a_lost_revoke() -> None:
    assert verdict(start(1), end(2), fates={JOB: Fate.REVOKED}).lost == {JOB}


def test_a_job_that_is_never_buried_is_stuck() -> None:
    assert verdict(start(1), fates={JOB: Fate.BURIED}, outcomes={}).stuck == {JOB}


def test_a_buried_job_is_fine() -> None:
    assert not verdict(start(1), fates={JOB: Fate.BURIED}, outcomes={JOB: Outcome(False)}).damaged


def test_a_message_whose_bytes_are_gone_is_lost() -> None:
    assert verdict(start(1), end(2), messages_kept={"the message": False}).lost == {"the message"}


def test_a_start_after_the_store_was_seen_with_the_result_is_doubled() -> None:
    again = (start(5, "b", SECOND), end(6, "b", SECOND))
    assert verdict(start(1), end(2), *again, deaths={FIRST: 3}, stored={JOB: 2.5}).doubled == {JOB}
    assert not verdict(start(1), end(2), *again, deaths={FIRST: 3}, stored={JOB: 5.5}).damaged


def test_a_job_that_has_to_fail_and_does_is_fine() -> None:
    assert not verdict(start(1), fates={JOB: Fate.FAILED}, outcomes={JOB: Outcome(False)}).damaged
    assert verdict(start(1), end(2), fates={JOB: Fate.FAILED}).wrong == {JOB}


def test_a_job_that_fails_with_another_error_than_its_own_is_wrong() -> None:
    def seen(error: str) -> Verdict:
        outcomes = {JOB: Outcome(False, error=error)}
        return verdict(start(1), fates={JOB: Fate.FAILED}, errors={JOB: "ValueError"}, outcomes=outcomes)

    assert seen("StoreError").wrong == {JOB}
    assert not seen("ValueError").damaged


def test_a_job_that_has_ended_and_whose_message_stays_is_stuck() -> None:
    assert verdict(start(1), end(2), left_over={JOB}).stuck == {JOB}


def test_a_process_that_grew_too_much_is_wrong() -> None:
    assert verdict(start(1), end(2), overgrown={"keeper": 2**30}).wrong == {"keeper"}


def test_a_job_that_overtakes_an_earlier_one_shows_which_was_late() -> None:
    effects = [start(2), end(3), start(1, "b", SECOND, "later"), end(4, "b", SECOND, "later")]
    outcomes = {JOB: Outcome(True, "a"), "later": Outcome(True, "b")}
    evidence = Evidence({JOB: 0.0, "later": 0.1}, effects, outcomes=outcomes, in_line=[JOB, "later"])
    assert judge(evidence).reordered == {"later"}


def test_recovery_of_an_interrupted_job_counts_from_the_fault() -> None:
    assert verdict(start(9), end(10), interrupted={JOB: 2.0}).recovery == pytest.approx(7)


FIRE = "nightly at 2"


def fired(*effects: Effect, jobs: set[str] | None = None, **rest: object) -> Verdict:
    """The verdict on one planned time, at 2, whose job is ``JOB`` unless told."""
    jobs = {JOB} if jobs is None else jobs
    return verdict(*effects, planned={FIRE: 2.0}, fired={FIRE: jobs} if jobs else {}, patience=20.0, **rest)


def test_a_planned_time_whose_job_ran_once_is_fine() -> None:
    assert not fired(start(2.1), end(3)).damaged


def test_a_planned_time_without_a_job_is_lost() -> None:
    assert fired(start(2.1), end(3), jobs=set()).lost == {FIRE}


def test_a_planned_time_without_a_job_is_fine_if_the_books_say_why() -> None:
    assert not fired(start(2.1), end(3), jobs=set(), told={FIRE: "no scheduler was up"}).damaged


def test_a_planned_time_whose_job_still_waits_is_stuck() -> None:
    assert fired(start(2.1), end(3), jobs=set(), traces={FIRE}).stuck == {FIRE}


def test_a_planned_time_with_two_jobs_is_doubled() -> None:
    assert fired(start(2.1), end(3), jobs={JOB, "another"}).doubled == {FIRE}


def test_a_planned_time_whose_job_starts_after_all_patience_is_stuck_and_no_recovery() -> None:
    seen = fired(start(22.1), end(23), interrupted={FIRE: 2.0})
    assert (seen.stuck, seen.recovery) == ({FIRE}, None)
    assert not fired(start(21.9), end(23)).damaged


def test_patience_with_a_planned_time_counts_from_the_end_of_the_fault_and_so_does_its_recovery() -> None:
    seen = fired(start(25), end(26), interrupted={FIRE: 20.0})
    assert not seen.damaged
    assert seen.recovery == pytest.approx(5)


def test_a_fire_on_the_books_that_nobody_has_planned_is_wrong() -> None:
    assert fired(start(2.1), end(3), unplanned={"nightly at 1"}).wrong == {"nightly at 1"}


def test_a_job_of_a_planned_time_is_judged_as_every_job() -> None:
    assert fired(outcomes={}).lost == {JOB}


def outcome(attempt: str) -> dict[str, Outcome]:
    return {JOB: Outcome(True, attempt)}
