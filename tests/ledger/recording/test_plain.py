"""Plain successes: rows that are made without a record, and are what the record would have made of them."""

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.job import State
from penstock.ledger.recording.columns import new_row
from penstock.ledger.recording.plain import PlainSuccess
from penstock.ledger.records import Step, Verdict
from penstock.ledger.tables import ID_LENGTH
from tests.ledger.recording.job import Job

texts = st.text(max_size=300)
NOW = datetime(2026, 11, 22, 8, tzinfo=UTC).timestamp()


def plain(**changes: Any) -> PlainSuccess:
    """A success as a child hands it over."""
    told: dict[str, Any] = {
        "id": "1",
        "task": "tasks.greet",
        "queue": "default",
        "worker": "main@host",
        "token": "ab12cd34.1:7:0",
        "lineage": (None, "1", None, None, None),
        "priority": 0,
        "args": "[1]",
        "kwargs": "{}",
        "result": "2",
        "enqueued_at": "2026-11-22T07:59:59+00:00",
        "started": NOW,
        "ended": NOW + 0.5,
    }
    return PlainSuccess(**{**told, **changes})


@given(
    id=texts.filter(bool),
    task=texts,
    queue=st.none() | texts,
    lineage=st.tuples(*[st.none() | texts] * 5),
    priority=st.none() | st.integers() | texts,
    enqueued_at=st.none() | texts | st.just("2026-11-22T07:59:59+00:00"),
)
def test_its_row_is_the_one_that_its_record_makes(**told: Any) -> None:
    success = plain(**told)
    assert success.row == new_row(success.record)


def test_texts_that_are_too_long_are_cut_and_cost_no_row() -> None:
    row = plain(id="x" * 1000, lineage=("y" * 1000, None, None, None, None)).row
    assert len(row[0]) == len(row[5]) == ID_LENGTH


def test_it_says_of_itself_what_any_record_does() -> None:
    success = plain()
    assert success.step is Step.END
    assert success.delivery.token == "ab12cd34.1:7:0"
    assert success.outcome.result == "2"


def test_the_first_of_two_stands(job: Job) -> None:
    first, second = plain(id=job.id), plain(id=job.id, token="ab12cd34.2:9:0", result="3")
    assert job.tell(first) == [Verdict.WON]
    assert job.tell(second) == [Verdict.ENDED]
    assert job.row.result == 2


def test_the_same_one_again_is_its_own(job: Job) -> None:
    assert job.tell(plain(id=job.id)) == [Verdict.WON]
    assert job.tell(plain(id=job.id)) == [Verdict.WON]
    assert job.row.attempts == 1


ODD = ("a\\tb", "back\\\\slash", "new\\nline", "é", "\\x00", "x" * 400, 7)


def test_many_at_once_are_the_rows_that_they_are_one_by_one(job: Job) -> None:
    """By COPY, where there is one, with texts and times that mean something to it."""
    odd = [plain(id=f"{job.id}-{n}", lineage=(text, None, "g", None, "s")) for n, text in enumerate(ODD)]
    times = [
        plain(id=f"{job.id}-t{n}", enqueued_at=time) for n, time in enumerate((None, "soon", 7, "2026-13-01T00:00:00Z"))
    ]
    values = [
        plain(id=f"{job.id}-v{n}", args=args, result=args, priority=priority)
        for n, (args, priority) in enumerate([(json.dumps(['a"b\\c\u00e9\n']), None), ("[]", 9), ("[1]", "high")])
    ]
    usual = [plain(id=f"{job.id}-u{n}", result=None) for n in range(20)]
    successes = [*odd, *times, *values, *usual]
    for success in successes:
        success.make_line()
    assert all(success.line for success in usual)
    assert not any(success.line for success in odd)
    assert set(job.tell(*successes)) == {Verdict.WON}
    for success in successes:
        row, delivery = Job(job.url, success.record.delivery.id).row, success.record.delivery
        assert (row.parent_id, row.group_id, row.schedule) == (delivery.parent_id, delivery.group_id, delivery.schedule)
        assert (row.args, row.result) == (json.loads(delivery.args), _decoded(success.outcome.result))
        assert (row.enqueued_at, _until_micros(row.started_at), _until_micros(row.finished_at), row.priority) == (
            delivery.enqueued_at,
            _until_micros(success.started_at),
            _until_micros(success.at),
            delivery.priority,
        )
        assert (row.state, row.attempts, row.token) == (State.SUCCEEDED, 1, delivery.token)


def _decoded(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _until_micros(time: datetime | None) -> datetime | None:
    """One way rounds, the other cuts."""
    return time and time.replace(microsecond=time.microsecond // 10 * 10)
