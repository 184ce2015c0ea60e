"""Which record changes which row: what is newer, what is as new and has the claim, and never what has ended."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from penstock.job import FINAL, Reason, State
from penstock.ledger.records import Encoded, Record, Step, Verdict
from penstock.ledger.rows import Failure, Outcome
from tests.ledger.making import CRASHED, SUCCEEDED, aside, end, running, start, step
from tests.ledger.recording.job import REQUEUED, RETRIED, Job

WON, ENDED, STALE = Verdict.WON, Verdict.ENDED, Verdict.STALE
FAILURE = Failure(type="ValueError", message="no", exception={"exc_type": "ValueError"}, fingerprint="f" * 12)
ENDS = {
    State.SUCCEEDED: Outcome(state=State.SUCCEEDED, result={"n": [1, "é\\\n\t"]}),
    State.FAILED: Outcome(state=State.FAILED, reason=Reason.ERROR, failure=FAILURE),
    State.CANCELLED: Outcome(state=State.CANCELLED, reason=Reason.REVOKED),
}
OF_ATTEMPTS = tuple(which for which in Step if which is not Step.BACK)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def late(job: Job, which: Step, **claim: Any) -> Record:
    """A record of one step."""
    outcome = {Step.END: SUCCEEDED, Step.ASIDE: Outcome(state=State.BLOCKED, reason=Reason.UNKNOWN_TASK)}.get(which)
    return step(which, job.claim(**claim), outcome=outcome)


def test_a_first_delivery_is_told_whole_by_its_end(job: Job) -> None:
    claim = job.claim(priority=3, parent_id="p", root_id="r", group_id="g", schedule="s", eta=NOON)
    began = NOON + timedelta(seconds=1)
    ended = began + timedelta(microseconds=7)
    assert job.tell(end(claim, ENDS[State.SUCCEEDED], started_at=began, at=ended)) == [WON]
    row = job.row
    assert (row.state, row.result, row.started_at, row.finished_at) == (
        State.SUCCEEDED,
        {"n": [1, "é\\\n\t"]},
        began,
        ended,
    )
    assert (row.args, row.kwargs, row.priority, row.queue) == ([1], {"a": "é\n\t\\"}, 3, job.queue)
    assert (row.parent_id, row.root_id, row.group_id, row.schedule, row.eta) == ("p", "r", "g", "s", NOON)
    assert (row.attempts, row.worker, row.token, row.enqueued_at) == (1, "w@host", "a:1", claim.enqueued_at)


def test_a_failure_is_told_with_its_error(job: Job) -> None:
    job.tell(end(job.claim(), ENDS[State.FAILED]))
    row = job.row
    assert (row.state, row.reason, row.error_type, row.error_message) == (
        State.FAILED,
        Reason.ERROR,
        "ValueError",
        "no",
    )
    assert (row.exception, row.error_fingerprint) == ({"exc_type": "ValueError"}, "f" * 12)


def test_a_success_forgets_the_error_of_the_attempt_before(job: Job) -> None:
    job.tell(end(job.claim(), Outcome(state=State.SCHEDULED, failure=FAILURE)))
    assert job.row.error_type == "ValueError"
    job.tell(start(job.claim("a:2", 1)), end(job.claim("a:2", 1)))
    assert (job.row.error_type, job.row.error_message, job.row.exception) == (None, None, None)


@pytest.mark.parametrize("final", sorted(FINAL))
@pytest.mark.parametrize("which", Step)
@pytest.mark.parametrize("claim", [{"token": "b:1"}, {"token": "b:1", "retries": 9}, {"token": None, "deliveries": 9}])
def test_a_job_that_has_ended_stays_as_it_is(job: Job, final: State, which: Step, claim: dict[str, Any]) -> None:
    job.tell(end(job.claim(), ENDS[final]))
    before = job.everything
    assert job.tell(late(job, which, **claim)) == [ENDED]
    assert job.everything == before


@pytest.mark.parametrize("final", sorted(FINAL))
def test_an_end_that_is_told_again_has_won_and_changes_nothing(job: Job, final: State) -> None:
    """The COMMIT went through, and the answer to it was lost."""
    told = end(job.claim(), ENDS[final])
    assert job.tell(told) == [WON]
    before = job.everything
    assert job.tell(told) == [WON]
    assert job.everything == before


def test_a_claim_that_tells_two_ends_keeps_its_first(job: Job) -> None:
    job.tell(end(job.claim()))
    assert job.tell(end(job.claim(), ENDS[State.FAILED])) == [ENDED]
    assert job.state is State.SUCCEEDED


OLDER, SAME, NEWER = ((0, 9), (1, 0)), ((1, 1),), ((1, 2), (2, 0))


@pytest.mark.parametrize("pair", OLDER)
@pytest.mark.parametrize("which", Step)
def test_an_older_attempt_changes_nothing(job: Job, which: Step, pair: tuple[int, int]) -> None:
    job.tell(start(job.claim("a:1", 1, 1)))
    before = job.everything
    assert job.tell(late(job, which, token="b:1", retries=pair[0], deliveries=pair[1])) == [STALE]
    assert job.everything == before


@pytest.mark.parametrize("pair", NEWER)
@pytest.mark.parametrize("which", OF_ATTEMPTS)
def test_a_newer_attempt_has_the_job(job: Job, which: Step, pair: tuple[int, int]) -> None:
    job.tell(start(job.claim("a:1", 1, 1)))
    assert job.tell(late(job, which, token="b:1", retries=pair[0], deliveries=pair[1])) == [WON]
    assert job.pair == (*pair, None if which is Step.ASIDE else "b:1")


@pytest.mark.parametrize("which", [Step.END, Step.RUNNING])
def test_another_claim_of_the_same_attempt_changes_nothing(job: Job, which: Step) -> None:
    job.tell(start(job.claim("a:1", 1, 1)))
    before = job.everything
    assert job.tell(late(job, which, token="b:1", retries=1, deliveries=1)) == [STALE]
    assert job.everything == before


@pytest.mark.parametrize("outcome", [SUCCEEDED, RETRIED, REQUEUED, *ENDS.values()])
def test_the_claim_that_runs_a_job_ends_its_attempt(job: Job, outcome: Outcome) -> None:
    job.tell(start(job.claim("a:1", 1, 1)))
    assert job.tell(end(job.claim("a:1", 1, 1), outcome)) == [WON]
    assert job.state is outcome.state


@pytest.mark.parametrize("which", OF_ATTEMPTS)
def test_a_waiting_job_is_for_whoever_comes_next(job: Job, which: Step) -> None:
    job.tell(end(job.claim(), CRASHED))
    assert job.tell(late(job, which, token="b:1", deliveries=1)) == [WON]


@pytest.mark.parametrize(
    ("outcome", "values", "pair"),
    [
        (RETRIED, {}, (3, 0)),
        (REQUEUED, {}, (2, 1)),
        (CRASHED, {}, (2, 1)),
        (REQUEUED, {"replaced": True}, (0, 0)),
        (RETRIED, {"replaced": True}, (0, 0)),
    ],
    ids=["retried", "requeued", "crashed", "replaced", "replaced later"],
)
def test_an_attempt_that_leaves_its_job_to_another_says_which(
    job: Job, outcome: Outcome, values: dict[str, Any], pair: tuple[int, int]
) -> None:
    job.tell(start(job.claim("a:1", 2, 1)))
    assert job.tell(end(job.claim("a:1", 2, 1), outcome, **values)) == [WON]
    assert (job.pair, job.row.finished_at) == ((*pair, None), None)


def test_a_retry_tells_when_it_is_due(job: Job) -> None:
    job.tell(end(job.claim(eta=NOON), Outcome(state=State.SCHEDULED, due=NOON + timedelta(hours=1))))
    assert job.row.eta == NOON + timedelta(hours=1)


def test_a_replaced_job_goes_on_as_its_new_task(job: Job) -> None:
    job.tell(start(job.claim("a:1", 2)), end(job.claim("a:1", 2), REQUEUED, replaced=True))
    new = job.claim("a:2", task="other", args=["new"])
    assert job.tell(start(new), end(new)) == [WON, WON]
    assert (job.row.task, job.row.args, job.outcomes) == ("other", ["new"], ["replaced", "succeeded"])


def test_a_job_that_is_replaced_by_one_without_tags_keeps_its_own(job: Job) -> None:
    """As by a stock worker, whose message says nothing of them."""
    job.tell(start(job.claim("a:1", tags=("a", "b"))), end(job.claim("a:1", tags=("a", "b")), REQUEUED, replaced=True))
    new = job.claim("a:2", task="other")
    assert job.tell(start(new), end(new)) == [WON, WON]
    assert (job.row.task, job.row.tags) == ("other", ("a", "b"))


def test_a_record_has_its_tags_in_another_process_too(job: Job) -> None:
    for tags in ((), ("a", "größe")):
        told = start(job.claim(tags=tags))
        words = replace(told, delivery=told.delivery.encoded()).to_words()
        assert ("tags" in words["delivery"]) is bool(tags)
        assert Record.from_words(words).delivery.tags == tags


def test_an_attempt_that_was_taken_over_cannot_come_back_after_its_job_was_replaced(job: Job) -> None:
    """The job counts from zero again, so the pair of the old attempt is the newer one; its token is spent."""
    job.tell(start(job.claim("old", 2)), start(job.claim("new", 2, 1)))
    job.tell(end(job.claim("new", 2, 1), REQUEUED, replaced=True))
    for which in (Step.START, Step.RUNNING, Step.END):
        assert job.tell(late(job, which, token="old", retries=2)) == [STALE]
    assert job.state is State.QUEUED


@pytest.mark.parametrize(("outcome", "retries"), [(RETRIED, 1), (REQUEUED, 0), (CRASHED, 0)])
def test_an_attempt_that_tells_again_that_its_job_waits_has_won_and_changes_nothing(
    job: Job, outcome: Outcome, retries: int
) -> None:
    told = end(job.claim(), outcome)
    job.tell(told)
    before = job.everything
    assert job.tell(told) == [WON]
    assert job.everything == before
    job.tell(start(job.claim("b:1", retries, 1)))
    before = job.everything
    assert job.tell(told) == [WON]
    assert job.everything == before


def test_a_message_that_is_given_back_unstarted_comes_again_as_it_was(job: Job) -> None:
    told = end(job.claim(), REQUEUED, started_at=None)
    assert job.tell(told, told) == [WON, WON]
    assert (job.pair, job.row.attempts) == ((0, 0, None), 0)
    assert job.tell(end(job.claim("b:1"))) == [WON]


def test_an_attempt_that_has_crashed_cannot_end_its_job_while_that_waits(job: Job) -> None:
    """Its process was said to be dead, and was not; the row has its pair still and no token."""
    job.tell(end(job.claim(), CRASHED))
    assert job.tell(end(job.claim())) == [STALE]
    assert job.state is State.QUEUED


def test_a_crash_before_the_start_was_told_leaves_the_job_to_the_next_delivery(job: Job) -> None:
    job.tell(end(job.claim(), CRASHED))
    assert job.tell(end(job.claim("a:2", 0, 1), CRASHED, started_at=None)) == [WON]
    assert (job.state, job.pair) == (State.QUEUED, (0, 1, None))


def test_a_crash_that_is_told_after_the_retry_changes_nothing(job: Job) -> None:
    job.tell(end(job.claim(), RETRIED))
    before = job.everything
    assert job.tell(end(job.claim(), CRASHED)) == [STALE]
    assert job.everything == before


@pytest.mark.parametrize("state", sorted(set(State) - FINAL - {State.RUNNING}))
@pytest.mark.parametrize("final", sorted(FINAL))
def test_whoever_has_no_claim_ends_a_job_of_any_attempt(job: Job, state: State, final: State) -> None:
    """A person cancels it, or its message is buried."""
    job.tell(
        end(job.claim("a:1", 2), Outcome(state=state)) if state is not State.BLOCKED else aside(job.claim("a:1", 2))
    )
    assert job.tell(end(job.claim(None), ENDS[final], started_at=None)) == [WON]
    assert (job.state, job.row.token) == (final, None)


@pytest.mark.parametrize("outcome", [RETRIED, REQUEUED])
def test_whoever_has_no_claim_cannot_put_back_a_job_that_has_gone_on(job: Job, outcome: Outcome) -> None:
    """Without a keeper a retry is on its way before the attempt that asked for it reports, and may have started."""
    job.tell(start(job.claim(None)), start(job.claim(None, 1)))
    assert job.tell(end(job.claim(None), outcome)) == [STALE]
    assert job.tell(end(job.claim(None, 1), outcome)) == [WON]


# -- starts ---------------------------------------------------------------------------------------------------------


def test_a_start_makes_the_row_of_a_job_that_has_none(job: Job) -> None:
    began = NOON + timedelta(seconds=1)
    assert job.tell(start(job.claim(), started_at=began)) == [WON]
    assert (job.state, job.row.started_at, job.pair, job.row.attempts) == (State.RUNNING, began, (0, 0, "a:1"), 1)


def test_a_start_that_is_told_again_has_won_and_counts_once(job: Job) -> None:
    assert job.tell(start(job.claim()), start(job.claim())) == [WON, WON]
    assert (job.row.attempts, job.outcomes) == (1, [None])


def test_a_start_forgets_why_the_job_waited(job: Job) -> None:
    job.tell(aside(job.claim()))
    job.tell(start(job.claim("a:2")))
    assert (job.state, job.row.reason) == (State.RUNNING, None)


def test_of_two_starts_of_one_message_the_last_has_the_job(job: Job) -> None:
    assert job.tell(start(job.claim("a:1")), start(job.claim("b:1"))) == [WON, WON]
    assert job.tell(end(job.claim("a:1")), end(job.claim("b:1"))) == [STALE, WON]
    assert job.outcomes == ["lost", "succeeded"]


# -- running ----------------------------------------------------------------------------------------------------------


def test_a_job_that_runs_for_a_while_becomes_visible(job: Job) -> None:
    assert job.tell(running(job.claim(), started_at=NOON)) == [WON]
    assert (job.state, job.row.started_at, job.row.token) == (State.RUNNING, NOON, "a:1")
    assert job.tell(end(job.claim(), started_at=NOON)) == [WON]
    assert (job.state, job.row.attempts) == (State.SUCCEEDED, 1)


def test_what_a_running_job_says_of_itself_is_kept_and_refused_after_its_end(job: Job) -> None:
    half, full = (running(job.claim(), progress=Encoded(f'{{"meta":{n}}}')) for n in (50, 100))
    assert job.tell(running(job.claim()), half) == [WON, WON]
    assert job.row.progress == {"meta": 50}
    assert job.tell(running(job.claim()), end(job.claim()), full) == [WON, WON, ENDED]
    assert job.row.progress == {"meta": 50}


# -- aside ----------------------------------------------------------------------------------------------------------


def test_a_job_of_an_unknown_task_is_put_aside_with_the_reason(job: Job) -> None:
    assert job.tell(aside(job.claim())) == [WON]
    row = job.row
    assert (row.state, row.reason, row.task, row.queue) == (State.BLOCKED, Reason.UNKNOWN_TASK, "t", job.queue)
    assert (row.attempts, row.token, row.started_at) == (0, None, None)


def test_putting_a_job_aside_counts_no_attempt(job: Job) -> None:
    job.tell(end(job.claim(), CRASHED))
    assert job.tell(aside(job.claim("b:1", 0, 1)), aside(job.claim("b:1", 0, 1))) == [WON, WON]
    assert (job.state, job.pair, job.row.attempts) == (State.BLOCKED, (0, 1, None), 1)


def test_a_job_that_runs_is_not_shown_as_put_aside_by_who_tells_of_that_late(job: Job) -> None:
    """SQL was away when it was told, and it has come back to its queue meanwhile."""
    job.tell(running(job.claim("b:1")))
    before = job.everything
    assert job.tell(aside(job.claim("a:1"))) == [STALE]
    assert job.everything == before


def test_a_delivery_that_was_put_aside_replaces_one_that_seems_to_run(job: Job) -> None:
    """Its worker was silent for too long, and nobody has told of its end."""
    job.tell(running(job.claim("a:1")))
    assert job.tell(aside(job.claim("b:1", 0, 1))) == [WON]
    assert job.state is State.BLOCKED


@pytest.mark.parametrize("outcome", [SUCCEEDED, RETRIED, REQUEUED, *ENDS.values()])
def test_a_job_that_was_put_aside_ends_as_any_other(job: Job, outcome: Outcome) -> None:
    """Unblocked, its message is a first delivery again, which tells no start."""
    job.tell(aside(job.claim()))
    assert job.tell(end(job.claim("a:2"), outcome)) == [WON]
    assert job.state is outcome.state


# -- rows that know little ------------------------------------------------------------------------------------------


def test_a_message_completes_the_row_of_a_job_that_was_cancelled_unseen(job: Job) -> None:
    """Celery writes that row when it hears the request, and knows no more than the id."""
    job.tell(end(job.claim(None, task="(unknown)", queue=None, args=None), ENDS[State.CANCELLED], started_at=None))
    assert job.tell(start(job.claim())) == [ENDED]
    row = job.row
    assert (row.task, row.queue, row.args, row.state) == ("t", job.queue, [1], State.CANCELLED)


def test_a_record_that_knows_only_the_id_erases_nothing(job: Job) -> None:
    job.tell(start(job.claim()))
    job.tell(end(job.claim(None, task="(unknown)", queue=None, worker=None, args=None), started_at=None))
    assert (job.row.task, job.row.queue, job.row.args, job.row.worker) == ("t", job.queue, [1], "w@host")


# -- batches --------------------------------------------------------------------------------------------------------


def test_records_of_one_job_apply_in_their_order(job: Job) -> None:
    verdicts = job.tell(
        start(job.claim("a:1")),
        end(job.claim("a:1"), RETRIED),
        end(job.claim("a:1")),
        start(job.claim("a:2", 1)),
        end(job.claim("a:2", 1)),
        start(job.claim("a:3", 1, 1)),
    )
    assert verdicts == [WON, WON, STALE, WON, WON, ENDED]
    assert (job.row.attempts, job.outcomes) == (2, ["retried", "succeeded"])


def test_each_record_of_a_batch_has_its_own_verdict(job: Job) -> None:
    others = [Job(job.url, f"{job.id}-{n}") for n in range(300)]
    job.tell(*(start(other.claim("a:1", 1)) for other in others[::3]), *(end(other.claim()) for other in others[1::3]))
    verdicts = job.tell(*(end(other.claim("b:1")) for other in others))
    assert verdicts == [STALE, ENDED, WON] * 100


def test_ids_differ_by_case_and_accent(job: Job) -> None:
    others = [Job(job.url, job.id + letter) for letter in "aAáä"]
    assert job.tell(*(end(other.claim()) for other in others)) == [WON] * 4


def test_text_that_is_too_long_or_that_no_database_stores_costs_no_row(job: Job) -> None:
    long = {"worker": "w" * 300, "task": "\x00t" + "ü" * 300, "parent_id": "\ud800" * 2}
    failure = Failure(type="E" * 300, message="\x00\ud800", exception={}, traceback="\x00")
    assert job.tell(end(job.claim(**long), Outcome(state=State.FAILED, failure=failure))) == [WON]
    row = job.row
    assert (row.worker, row.task, row.parent_id) == ("w" * 255, "\ufffdt" + "ü" * 253, "??")
    assert (row.error_type, row.error_message, row.error_traceback) == ("E" * 255, "\ufffd?", "\ufffd")


def test_records_whose_ids_are_cut_alike_are_of_one_job(job: Job) -> None:
    """The row is what everybody sees."""
    first, second = (Job(job.url, job.id + "i" * 300 + end) for end in "ab")
    assert job.tell(end(first.claim()), end(second.claim("b:1"))) == [WON, ENDED]


# -- a start that is taken back -----------------------------------------------------------------------------------


def test_a_delivery_that_goes_back_before_it_began_was_no_attempt(job: Job) -> None:
    claim = job.claim(token="a:1", retries=1)
    assert job.tell(start(claim)) == [WON]
    assert job.tell(step(Step.BACK, claim)) == [WON]
    row = job.row
    assert (row.state, row.attempts, row.token, row.worker, row.started_at) == (State.QUEUED, 0, None, None, None)
    assert job.tell(start(job.claim(token="b:1", retries=1))) == [WON]
    assert job.tell(end(job.claim(token="b:1", retries=1))) == [WON]
    assert (job.row.state, job.row.attempts) == (State.SUCCEEDED, 1)
    assert job.outcomes == ["succeeded"]


def test_a_start_is_taken_back_once(job: Job) -> None:
    claim = job.claim(token="a:1", retries=1)
    job.tell(start(claim))
    assert job.tell(step(Step.BACK, claim), step(Step.BACK, claim)) == [WON, STALE]
    assert job.row.attempts == 0


def test_nobody_takes_back_what_another_attempt_or_an_end_has(job: Job) -> None:
    older, newer = job.claim(token="a:1", retries=1), job.claim(token="b:1", retries=1, deliveries=1)
    job.tell(start(older), start(newer))
    assert job.tell(step(Step.BACK, older)) == [STALE]
    assert job.tell(end(newer), step(Step.BACK, newer)) == [WON, ENDED]
    assert job.row.state is State.SUCCEEDED


def test_what_is_no_more_is_not_made_anew_by_a_start_that_is_taken_back(job: Job) -> None:
    assert job.tell(step(Step.BACK, job.claim(token="a:1"))) == [STALE]
    assert not job.exists


CANCEL = {"outcome": Outcome(state=State.CANCELLED, reason=Reason.REVOKED), "only_if_waiting": True, "started_at": None}


@pytest.mark.parametrize("waits", [RETRIED, REQUEUED, None])
def test_a_job_that_is_cancelled_while_it_waits_has_ended_and_never_starts(job: Job, waits: Outcome | None) -> None:
    if waits is not None:
        job.tell(end(job.claim(), waits))
    attempts = job.row.attempts if waits is not None else 0
    assert job.tell(end(job.claim(None), **CANCEL)) == [WON]
    assert job.tell(start(job.claim("b:1", retries=1))) == [ENDED]
    assert (job.row.state, job.row.reason, job.row.attempts) == (State.CANCELLED, Reason.REVOKED, attempts)


@pytest.mark.parametrize("begun", [start, running])
def test_a_job_that_runs_is_not_ended_as_one_that_waits(job: Job, begun: Any) -> None:
    job.tell(begun(job.claim()))
    assert job.tell(end(job.claim(None), **CANCEL)) == [STALE]
    assert job.tell(end(job.claim())) == [WON]
    assert job.row.state is State.SUCCEEDED
