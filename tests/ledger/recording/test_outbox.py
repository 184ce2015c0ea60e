"""What follows from an outcome exists if its record has won, and only then."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from penstock.job import FINAL, Reason, State
from penstock.ledger.recording import record
from penstock.ledger.records import Record, Verdict
from penstock.ledger.rows import Outcome
from penstock.ledger.session import writing
from tests.ledger.making import CRASHED, SUCCEEDED, aside, end, running, start, write
from tests.ledger.recording.job import REQUEUED, RETRIED, Job

WON, ENDED, STALE = Verdict.WON, Verdict.ENDED, Verdict.STALE
CANCELLED = Outcome(state=State.CANCELLED, reason=Reason.REVOKED)


def test_a_follow_up_is_in_the_outbox_and_to_be_published_now(job: Job) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    message = job.follow_up(due=due, step=3)
    assert write(job.url, end(job.claim(), follow_ups=(message,))).messages == [message]
    row = job.outbox[message.key]
    assert (row.job_id, row.task, row.queue, row.step, row.due) == (message.key, "next", job.queue, 3, due)
    assert row.payload == message.payload
    assert row.published_at is not None


def test_a_follow_up_whose_row_is_there_keeps_it(job: Job) -> None:
    job.tell(end(job.claim(), follow_ups=(job.follow_up(),)))
    before = job.outbox
    other = Job(job.url, f"{job.id}-other")
    other.tell(end(other.claim(), follow_ups=(job.follow_up(payload=b"another"),)))
    assert job.outbox == before


@pytest.mark.parametrize("retries", [0, 1])
def test_what_has_not_won_has_no_follow_ups(job: Job, retries: int) -> None:
    """An attempt that was taken over, or whose job has ended, sends nothing."""
    job.tell(start(job.claim("b:1", 1)), *([end(job.claim("b:1", 1))] if retries else []))
    late = write(job.url, end(job.claim("a:1", retries), follow_ups=(job.follow_up(),)))
    assert (late.verdicts, late.messages, job.outbox) == ([ENDED if retries else STALE], [], {})


@pytest.mark.parametrize("outcome", [SUCCEEDED, RETRIED])
def test_an_outcome_that_is_told_again_names_its_follow_ups_again(job: Job, outcome: Outcome) -> None:
    """Between COMMIT and publication its worker died, or the answer to COMMIT was lost."""
    told = end(job.claim(), outcome, follow_ups=(job.retry,))
    first, again = write(job.url, told), write(job.url, told)
    assert (again.verdicts, again.messages) == ([WON], first.messages)


def test_an_outcome_that_is_told_again_does_not_name_follow_ups_that_are_done_with(job: Job) -> None:
    """They would be published a second time, for nothing in Redis knows them any more."""
    told = end(job.claim(), follow_ups=(job.follow_up(),))
    write(job.url, told)
    write(job.url, end(Job(job.url, f"{job.id}-next").claim(), outbox_key=job.follow_up().key))
    assert write(job.url, told).messages == []
    assert job.outbox == {}


@pytest.mark.parametrize(
    ("outcome", "replaced", "stays"),
    [
        (SUCCEEDED, False, False),
        (CANCELLED, False, False),
        (RETRIED, False, False),
        (REQUEUED, True, False),
        (REQUEUED, False, True),
        (CRASHED, False, True),
    ],
    ids=["succeeded", "cancelled", "retried", "replaced", "requeued", "crashed"],
)
def test_a_message_leaves_the_outbox_when_it_has_done_its_part(
    job: Job, outcome: Outcome, replaced: bool, stays: bool
) -> None:
    """One that is put back is delivered again as it is, and Redis may still lose it."""
    in_outbox(job)
    job.tell(start(job.claim(), outbox_key=job.id))
    assert job.id in job.outbox
    job.tell(end(job.claim(), outcome, replaced=replaced, outbox_key=job.id))
    assert (job.id in job.outbox) is stays


def test_follow_ups_are_published_in_the_order_of_their_records(job: Job) -> None:
    claims = [job.claim(id=f"{job.id}-{n}") for n in range(50)]
    job.tell(*(end(claim) for claim in claims[::2]))
    records = [end(claim, follow_ups=(job.follow_up(f"{claim.id}~1"),)) for claim in claims]
    messages = write(job.url, *records).messages
    new = [f"{job.id}-{n}~1" for n in range(50) if n % 2]
    assert list(job.outbox) == new
    assert sorted(message.key for message in messages) == sorted(new)
    assert [message.key for message in messages if message.key in new] == new


def in_outbox(job: Job) -> None:
    """Puts the job's own message there, as if another one had led to it."""
    parent = Job(job.url, f"{job.id}-parent")
    parent.tell(end(parent.claim(), follow_ups=(job.follow_up(job.id),)))


def starts(job: Job) -> Record:
    return start(job.claim("b:1"), outbox_key=job.id)


def runs(job: Job) -> Record:
    return running(job.claim("b:1"), outbox_key=job.id)


def ends(job: Job) -> Record:
    return end(job.claim("b:1"), outbox_key=job.id)


def is_put_aside(job: Job) -> Record:
    return aside(job.claim("b:1"), outbox_key=job.id)


@pytest.mark.parametrize("late", [starts, runs, ends, is_put_aside])
@pytest.mark.parametrize("final", sorted(FINAL))
def test_a_message_of_a_job_that_has_ended_leaves_the_outbox(
    job: Job, late: Callable[[Job], Record], final: State
) -> None:
    in_outbox(job)
    job.tell(end(job.claim(None), Outcome(state=final), started_at=None))
    assert job.tell(late(job)) == [ENDED]
    assert job.outbox == {}


def test_a_message_of_an_attempt_that_was_taken_over_stays_in_the_outbox(job: Job) -> None:
    """The same message is with the attempt that has the job now."""
    in_outbox(job)
    job.tell(start(job.claim("b:1", 0, 1), outbox_key=job.id))
    assert job.tell(end(job.claim(), outbox_key=job.id)) == [STALE]
    assert job.id in job.outbox


def test_a_retry_takes_the_place_of_the_message_that_asked_for_it(job: Job) -> None:
    in_outbox(job)
    job.tell(start(job.claim(), outbox_key=job.id))
    job.tell(end(job.claim(), RETRIED, outbox_key=job.id, follow_ups=(job.retry,)))
    assert list(job.outbox) == [job.retry.key]


def test_keys_that_are_too_long_are_cut_and_found_again(job: Job) -> None:
    message = job.follow_up(job.id + "k" * 300)
    job.tell(end(job.claim(), follow_ups=(message,)))
    job.tell(end(Job(job.url, f"{job.id}-next").claim(), outbox_key=message.key))
    assert job.outbox == {}


def test_nobody_publishes_a_follow_up_whose_transaction_fails(job: Job) -> None:
    with writing(job.url) as connection:
        record(connection, [end(job.claim(), follow_ups=(job.follow_up(),))])
        connection.rollback()
    assert (job.exists, job.outbox) == (False, {})


# -- tallies --------------------------------------------------------------------------------------------------------


def test_each_end_counts_once_however_often_it_is_told(job: Job) -> None:
    told = end(job.claim())
    job.tell(told, told)
    job.tell(told, end(job.claim("b:1")), end(job.claim("b:1", 5), CANCELLED))
    assert job.tallies == {"succeeded": 1}


def test_what_is_no_end_does_not_count(job: Job) -> None:
    job.tell(end(job.claim(), RETRIED), start(job.claim("a:2", 1)), end(job.claim("a:2", 1), CRASHED))
    assert job.tallies == {}


def test_ends_add_up_over_batches(job: Job) -> None:
    for batch in range(3):
        claims = [job.claim(id=f"{job.id}-{batch}-{n}") for n in range(5)]
        job.tell(*(end(claim, CANCELLED if place == 0 else SUCCEEDED) for place, claim in enumerate(claims)))
    assert job.tallies == {"cancelled": 3, "succeeded": 12}
