"""Plain successes: rows that are made without a record, and are what the record would have made of them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.job import State
from penstock.ledger.recording.columns import new_row
from penstock.ledger.recording.plain import PlainSuccess, Values, told_of
from penstock.ledger.records import Step, Verdict
from penstock.ledger.tables import ID_LENGTH
from penstock.tags import MAX_LENGTH, MAX_TAGS, to_text
from tests.ledger.recording.job import Job

texts = st.text(max_size=300)
tag_words = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=MAX_LENGTH)
NOW = datetime(2026, 11, 22, 8, tzinfo=UTC).timestamp()


def values(**changes: Any) -> Values:
    """What a child knows of a success."""
    told: dict[str, Any] = {
        "id": "1",
        "task": "tasks.greet",
        "queue": "default",
        "worker": "main@host",
        "token": "ab12cd34.1:7:0",
        "parent": None,
        "root": "1",
        "group": None,
        "replay_of": None,
        "schedule": None,
        "priority": 0,
        "tags": None,
        "args": "[1]",
        "kwargs": "{}",
        "result": "2",
        "enqueued_at": "2026-11-22T07:59:59+00:00",
        "started": NOW,
        "ended": NOW + 0.5,
    }
    return Values(**{**told, **changes})


def plain(*, by_copy: bool = False, **changes: Any) -> PlainSuccess:
    """A success as a child hands it over."""
    told = values(**changes)
    said, is_accepted = told_of(tuple(told), by_copy=by_copy)
    return PlainSuccess(told.id, told.queue, said, is_accepted=is_accepted, started=told.started, ended=told.ended)


@given(
    id=texts.filter(bool),
    task=texts,
    queue=st.none() | texts,
    parent=st.none() | texts,
    group=st.none() | texts,
    priority=st.none() | st.integers() | st.booleans() | texts,
    tags=st.lists(tag_words, max_size=MAX_TAGS, unique=True).map(to_text),
    enqueued_at=st.none() | texts | st.just("2026-11-22T07:59:59+00:00"),
)
def test_its_row_is_the_one_that_its_record_makes(**told: Any) -> None:
    success = plain(**told)
    assert success.row == new_row(success.record)


@given(
    id=st.uuids().map(str),
    group=st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\"), max_size=60),
    priority=st.none() | st.integers() | st.booleans(),
    tags=st.lists(tag_words, max_size=MAX_TAGS, unique=True).map(to_text),
    args=st.lists(st.text() | st.integers() | st.none()).map(json.dumps),
    result=st.none() | st.text().map(json.dumps),
    enqueued_at=st.none() | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    started=st.floats(0, 4e9),
)
def test_a_line_says_what_its_values_say(**told: Any) -> None:
    line, row = plain(by_copy=True, **told), plain(**told).row
    assert line.line is not None
    assert line.row == row
    assert line.is_accepted == (told["enqueued_at"] is not None)


def test_texts_that_are_too_long_are_cut_and_cost_no_row() -> None:
    row = plain(id="x" * 1000, parent="y" * 1000).row
    assert len(row[0]) == len(row[5]) == ID_LENGTH


def test_it_says_of_itself_what_any_record_does() -> None:
    success = plain()
    assert success.step is Step.END
    assert success.delivery.token == "ab12cd34.1:7:0"
    assert success.outcome.result == "2"


@pytest.mark.parametrize("by_copy", [True, False])
def test_it_knows_how_long_it_waited_without_its_row(by_copy: bool) -> None:
    success = plain(by_copy=by_copy, tags="nightly", result=None)
    assert success.waited == 1.0
    assert "row" not in vars(success)


@pytest.mark.parametrize("enqueued_at", [None, "soon"])
def test_of_a_job_whose_producer_does_not_say_when_nobody_knows_how_long_it_waited(enqueued_at: Any) -> None:
    assert plain(enqueued_at=enqueued_at).waited is None


def test_the_first_of_two_stands(job: Job) -> None:
    first, second = plain(id=job.id), plain(id=job.id, token="ab12cd34.2:9:0", result="3")
    assert job.tell(first) == [Verdict.WON]
    assert job.tell(second) == [Verdict.ENDED]
    assert job.row.result == 2


def test_the_same_one_again_is_its_own(job: Job) -> None:
    assert job.tell(plain(id=job.id)) == [Verdict.WON]
    assert job.tell(plain(id=job.id)) == [Verdict.WON]
    assert job.row.attempts == 1


TAGS = (["nightly"], ["a\\b", "größe", "日本"], ["x" * MAX_LENGTH] * MAX_TAGS)
ODD = ("a\\tb", "back\\\\slash", "new\\nline", "é", "\\x00", "x" * 400, 7)


def test_many_at_once_are_the_rows_that_they_are_one_by_one(job: Job) -> None:
    """By COPY, where there is one, with texts and times that mean something to it."""
    odd = [plain(by_copy=True, id=f"{job.id}-{n}", parent=text, group="g", schedule="s") for n, text in enumerate(ODD)]
    times = [
        plain(by_copy=True, id=f"{job.id}-t{n}", enqueued_at=time)
        for n, time in enumerate((None, "soon", 7, "2026-13-01T00:00:00Z"))
    ]
    values = [
        plain(by_copy=True, id=f"{job.id}-v{n}", args=args, result=args, priority=priority)
        for n, (args, priority) in enumerate([(json.dumps(['a"b\\c\u00e9\n']), None), ("[]", 9), ("[1]", "high")])
    ]
    usual = [plain(by_copy=True, id=f"{job.id}-u{n}", result=None) for n in range(20)]
    tagged = [plain(by_copy=True, id=f"{job.id}-g{n}", tags=to_text(tags)) for n, tags in enumerate(TAGS)]
    successes = [*odd, *times, *values, *usual, *tagged]
    assert all(success.line for success in tagged)
    assert all(success.line for success in usual)
    assert not any(success.line for success in odd)
    assert set(job.tell(*successes)) == {Verdict.WON}
    for success in successes:
        row, delivery = Job(job.url, success.record.delivery.id).row, success.record.delivery
        assert (row.parent_id, row.group_id, row.schedule) == (delivery.parent_id, delivery.group_id, delivery.schedule)
        assert row.tags == delivery.tags
        assert (row.args, row.result) == (json.loads(delivery.args), _decoded(success.outcome.result))
        assert (row.enqueued_at, row.started_at, row.finished_at, row.priority) == (
            delivery.enqueued_at,
            success.started_at,
            success.at,
            delivery.priority,
        )
        assert (row.state, row.attempts, row.token) == (State.SUCCEEDED, 1, delivery.token)


def _decoded(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def test_a_batch_that_meets_one_job_again_costs_none_of_the_others(job: Job) -> None:
    """By COPY into the table itself, which then fails as a whole, and by way of the staged rows after that."""
    for batch in range(3):
        new = [plain(by_copy=True, id=f"{job.id}-{batch}-{n}") for n in range(20)]
        there = plain(by_copy=True, id=job.id, token=f"ab12cd34.{batch}:9:0", result=str(batch))
        verdicts = job.tell(*new[:10], there, *new[10:])
        expected = Verdict.ENDED if batch else Verdict.WON
        assert verdicts == [*[Verdict.WON] * 10, expected, *[Verdict.WON] * 10]
    assert job.row.result == 0


def test_a_batch_in_which_the_database_refuses_one_value_loses_no_other(job: Job) -> None:
    batch = [plain(by_copy=True, id=f"{job.id}-{n}", args='["\\u0000"]' if n == 7 else "[]") for n in range(20)]
    assert all(success.line for success in batch)
    job.tell(*batch)
    assert all(Job(job.url, success.id).row.state is State.SUCCEEDED for n, success in enumerate(batch) if n != 7)
    assert Job(job.url, f"{job.id}-7").row.state.is_final


@pytest.mark.parametrize("queue", [["a", "list"], 7, {"a": 1}])
def test_a_queue_that_is_no_text_holds_up_nobody(job: Job, queue: Any) -> None:
    """As a message may say of itself."""
    assert job.tell(plain(by_copy=True, id=job.id, queue=queue), plain(id=f"{job.id}-2")) == [Verdict.WON] * 2
    assert job.row.queue == str(queue)
