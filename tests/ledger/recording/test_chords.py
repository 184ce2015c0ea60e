"""Parts of chords are counted with their ends, and whoever brings the last one starts the body, once."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.job import State
from penstock.ledger.records import FollowUp, Verdict
from penstock.ledger.rows import Outcome
from penstock.message import OUTBOX
from tests.ledger.making import end, start, write
from tests.ledger.recording.job import RETRIED, Job

CANCELLED = Outcome(state=State.CANCELLED)


def parts(job: Job, count: int) -> list[Job]:
    """Jobs of one chord, whose id is the given job's."""
    return [Job(job.url, f"{job.id}-{place}") for place in range(count)]


def tell(chord: Job, *ended: Job, total: int = 3) -> list[FollowUp]:
    """Ends parts in one transaction; what is to be published."""
    of = {part.id: part.part(chord.id, total, int(part.id.rpartition("-")[2])) for part in ended}
    return write(chord.url, *(end(part.claim(), parts=(of[part.id],)) for part in ended)).messages


def test_the_last_part_starts_the_body(job: Job) -> None:
    first, second, third = parts(job, 3)
    assert tell(job, third, first) == []
    assert job.remaining(job.id) == 1
    (message,) = tell(job, second)
    assert job.remaining(job.id) == 0
    assert list(job.outbox) == [message.key]


def test_the_body_is_started_by_celerys_own_job_with_the_parts_in_their_order(job: Job) -> None:
    first, second, third = parts(job, 3)
    (message,) = tell(job, third, first, second)
    envelope = json.loads(message.payload + b'"}}')
    args, kwargs, _ = json.loads(envelope["body"])
    assert args == [job.id, {"task": "body", "args": []}]
    assert [each[0][0] for each in kwargs["result"]] == [first.id, second.id, third.id]
    headers = envelope["headers"]
    assert (headers["task"], headers["id"], headers[OUTBOX]) == ("celery.chord_unlock", message.job_id, message.key)
    assert (message.task, message.key) == ("celery.chord_unlock", f"{job.id}:unlock")
    assert message.queue in envelope["properties"]["delivery_info"]["routing_key"]


def test_a_chord_of_one_part_starts_its_body_at_once(job: Job) -> None:
    assert len(tell(job, *parts(job, 1), total=1)) == 1


def test_a_part_that_is_told_again_counts_once(job: Job) -> None:
    first, second, _ = parts(job, 3)
    tell(job, first, first, second)
    assert tell(job, first, second) == []
    assert job.remaining(job.id) == 1


def test_a_part_that_is_told_again_after_the_last_starts_nothing(job: Job) -> None:
    told = parts(job, 3)
    tell(job, *told)
    assert tell(job, *told) == []


def test_a_part_whose_end_is_refused_because_its_job_had_ended_counts(job: Job) -> None:
    """It was cancelled by somebody who knew no more than its id."""
    first, second, third = parts(job, 3)
    first.tell(end(first.claim(None), CANCELLED, started_at=None))
    assert len(tell(job, first, second, third)) == 1


def test_a_part_that_was_taken_over_does_not_count(job: Job) -> None:
    first, *_ = parts(job, 3)
    first.tell(start(first.claim("b:1", 0, 1)))
    late = end(first.claim(), parts=(first.part(job.id, 3),))
    assert first.tell(late) == [Verdict.STALE]
    assert tell(job, *parts(job, 3)[1:]) == []


def test_a_part_that_comes_late_starts_the_body_no_second_time(job: Job) -> None:
    """There are more of them than the chord was said to have."""
    assert len(tell(job, *parts(job, 3))) == 1
    assert tell(job, *parts(job, 5)) == []
    assert job.remaining(job.id) == 0


def test_more_parts_at_once_than_there_are_start_the_body_once(job: Job) -> None:
    assert len(tell(job, *parts(job, 5))) == 1


def test_one_job_may_be_a_part_of_several_chords(job: Job) -> None:
    counters = [f"{job.id}-{letter}" for letter in "ba"]
    messages = write(job.url, end(job.claim(), parts=tuple(job.part(id, 1) for id in counters))).messages
    assert [message.job_id for message in messages] == [f"{id}:unlock" for id in sorted(counters)]


@pytest.mark.parametrize("size", [1, 7])
def test_of_all_who_end_parts_at_once_one_starts_the_body(job: Job, size: int) -> None:
    total = 28
    ended = parts(job, total)
    barrier = threading.Barrier(4)

    def tell_share(share: int) -> list[FollowUp]:
        barrier.wait()
        own = ended[share::4]
        batches = [own[place : place + size] for place in range(0, len(own), size)]
        return [message for batch in batches for message in tell(job, *batch, total=total)]

    with ThreadPoolExecutor(4) as pool:
        messages = [message for share in pool.map(tell_share, range(4)) for message in share]
    assert len(messages) == 1
    assert job.remaining(job.id) == 0


def test_a_retry_that_tells_of_a_part_counts_it_once(job: Job) -> None:
    """Celery tells it at the end only; told earlier it must not count twice."""
    (part,) = parts(job, 1)
    told = part.part(job.id, 2)
    part.tell(end(part.claim(), RETRIED, parts=(told,)), end(part.claim("a:2", 1), parts=(told,)))
    assert job.remaining(job.id) == 1


def test_ids_of_chords_that_are_too_long_are_cut(job: Job) -> None:
    (message,) = write(job.url, end(job.claim(), parts=(job.part(job.id + "g" * 300, 1),))).messages
    assert len(message.key) == 255
    assert message.key.endswith(":unlock")
