"""Dead letters on each database: what is kept of them, what becomes of their jobs, and who resolves them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import WorkerLostError
from celery.result import AsyncResult
from sqlalchemy import exc, text

from penstock.job import FINAL, Reason, State
from penstock.ledger import letters, queries, search
from penstock.ledger.backend import LedgerBackend
from penstock.ledger.letters import LetterFilter
from penstock.ledger.rows import AuditRow, DeadLetter, Delivery, JobRow, LetterRow, Outcome
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import Kind, Resolution
from tests.ledger.making import end, start, write

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DIED = "its process died 3 times"
JOB = Delivery(id="1", task="t", queue="default", args=[1], kwargs={"a": 2})


def letter(id: str = "celery@here/1a2b3c4d:7:0", **changes: Any) -> DeadLetter:
    values: dict[str, Any] = {
        "id": id,
        "kind": Kind.BURIED,
        "queue": "default",
        "step": 3,
        "reason": DIED,
        "payload": b'{"body": ""}',
        "deliveries": 3,
        "at": NOON,
        "job": JOB,
    }
    return DeadLetter(**(values | changes))


def quarantined(id: str = "q", **changes: Any) -> DeadLetter:
    return letter(id, **({"kind": Kind.QUARANTINED, "job": None, "reason": "not JSON", "payload": b"x"} | changes))


def bury(url: str, *given: DeadLetter) -> int:
    with writing(url) as connection:
        return letters.bury(connection, given)


def found(url: str, id: str = letter().id) -> LetterRow:
    with reading(url) as connection:
        row = letters.find_letter(connection, id)
    assert row is not None
    return row


def job(url: str, id: str = "1") -> JobRow:
    with reading(url) as connection:
        row = queries.find_job(connection, id)
    assert row is not None
    return row


def resolve(url: str, id: str, resolution: Resolution = Resolution.DISCARDED, **values: Any) -> bool:
    with writing(url) as connection:
        return letters.mark_resolved(connection, id, resolution, actor="ada", **values)


def audit(url: str, job_id: str = "1") -> list[AuditRow]:
    with reading(url) as connection:
        return queries.audit_of(connection, job_id)


def test_a_buried_message_is_kept_with_all_that_is_known_of_it(database_url: str) -> None:
    bury(database_url, letter())
    assert found(database_url) == LetterRow(
        id="celery@here/1a2b3c4d:7:0",
        kind=Kind.BURIED,
        job_id="1",
        task="t",
        queue="default",
        step=3,
        reason=DIED,
        deliveries=3,
        at=NOON,
        resolution=None,
        resolved_at=None,
        resolved_by=None,
        replay_job_id=None,
        size=12,
    )


@pytest.mark.parametrize("payload", [b"", b"\x00\xff\xfe not utf-8", b"x" * 3_000_000], ids=["empty", "bytes", "3 MB"])
def test_a_payload_comes_back_byte_by_byte(database_url: str, payload: bytes) -> None:
    bury(database_url, quarantined(payload=payload))
    with reading(database_url) as connection:
        assert letters.payload_of(connection, "q") == payload
    assert found(database_url, "q").size == len(payload)


def test_a_letter_that_is_not_there_has_neither_row_nor_payload(database_url: str) -> None:
    with reading(database_url) as connection:
        assert letters.find_letter(connection, "none") is None
        assert letters.payload_of(connection, "none") is None


def test_the_job_of_a_buried_message_fails_with_the_reason(database_url: str) -> None:
    bury(database_url, letter())
    row = job(database_url)
    assert (row.state, row.reason, row.error_message) == (State.FAILED, Reason.CRASHED, DIED)
    assert (row.task, row.queue, row.args, row.kwargs) == ("t", "default", [1], {"a": 2})
    assert row.finished_at is not None


def test_an_attempt_that_was_open_when_its_message_was_buried_has_crashed(database_url: str) -> None:
    """Its whole worker died, so that nobody could report the crash itself."""
    write(database_url, start(JOB))
    bury(database_url, letter())
    with reading(database_url) as connection:
        (attempt,) = queries.attempts_of(connection, "1")
    assert (attempt.outcome, attempt.error_message) == ("crashed", DIED)


@pytest.mark.parametrize("cause", [Reason.REJECTED, Reason.UNREADABLE])
def test_a_job_may_be_buried_for_other_causes_than_crashes(database_url: str, cause: Reason) -> None:
    bury(database_url, letter(cause=cause, reason="its body is not base64"))
    assert (job(database_url).reason, job(database_url).error_message) == (cause, "its body is not base64")


def test_async_result_raises_what_the_job_was_buried_for(database_url: str) -> None:
    bury(database_url, letter())
    app = Celery("reader", set_as_current=False)
    with pytest.raises(WorkerLostError, match=DIED):
        AsyncResult("1", backend=LedgerBackend(app, url=database_url), app=app).get(timeout=5)


@pytest.mark.parametrize("final", sorted(FINAL))
def test_a_job_that_had_ended_keeps_its_end_when_its_message_is_buried(database_url: str, final: State) -> None:
    write(database_url, end(JOB, Outcome(state=final)))
    before = job(database_url)
    assert bury(database_url, letter()) == 1
    assert job(database_url) == before


def test_a_quarantined_message_makes_no_job(database_url: str) -> None:
    bury(database_url, quarantined())
    with reading(database_url) as connection:
        assert search.list_jobs(connection, search.JobFilter(), 10).jobs == []
    assert (found(database_url, "q").job_id, found(database_url, "q").task) == (None, None)


def test_burying_again_changes_nothing(database_url: str) -> None:
    """The commit went through and the word of it did not; meanwhile a person may have resolved the letter."""
    assert bury(database_url, letter()) == 1
    resolve(database_url, letter().id)
    before = found(database_url), job(database_url)
    assert bury(database_url, letter(reason="another", payload=b"another")) == 0
    assert (found(database_url), job(database_url)) == before


def test_several_who_bury_the_same_messages_at_once_bury_each_once(database_url: str) -> None:
    batch = [letter(f"e{number}", job=Delivery(id=f"{number}", task="t", queue="q")) for number in range(20)]
    with ThreadPoolExecutor(4) as pool:
        new = pool.map(lambda order: bury(database_url, *order), [batch, batch[::-1]] * 2)
        assert sum(new) == 20
    assert counted(database_url) == {Kind.BURIED: 20}


def test_arguments_that_are_not_json_keep_no_batch_out_of_the_ledger(database_url: str) -> None:
    strange = letter("strange", job=Delivery(id="2", task="t", queue="q", args=[float("nan")], kwargs={}))
    assert bury(database_url, letter(), strange, quarantined()) == 3
    assert job(database_url, "2").args == ["[nan]"]


def test_text_that_no_database_stores_as_it_is_costs_no_letter(database_url: str) -> None:
    strange = Delivery(id="1\x00" + "i" * 300, task="\ud800", queue="q")
    bury(database_url, letter(reason="not \x00 JSON \ud800", queue="q" * 300, job=strange))
    assert found(database_url).reason == "not \ufffd JSON ?"


def test_ids_that_are_too_long_stay_apart(database_url: str) -> None:
    """What tells entries apart, incarnation and token, stands at the end."""
    ids = [f"{'long' * 100}/1a2b3c4d:{token}:0" for token in (7, 8)]
    assert bury(database_url, *(quarantined(id) for id in ids)) == 2
    assert found(database_url, ids[1]).id.endswith(":8:0")


@pytest.fixture
def filled(database_url: str) -> str:
    bury(
        database_url,
        letter("a", at=NOON),
        letter("b", at=NOON + timedelta(seconds=1), job=Delivery(id="2", task="other"), queue="web"),
        quarantined("c", at=NOON + timedelta(seconds=2), reason="not JSON: 100 % wrong"),
        quarantined("d", at=NOON + timedelta(seconds=2)),
    )
    resolve(database_url, "b")
    return database_url


def listed(url: str, limit: int = 100, **conditions: Any) -> list[str]:
    with reading(url) as connection:
        return [row.id for row in letters.list_letters(connection, LetterFilter(**conditions), limit)]


def counted(url: str, **conditions: Any) -> dict[Kind, int]:
    with reading(url) as connection:
        return letters.count_letters(connection, LetterFilter(**conditions))


@pytest.mark.parametrize(
    ("conditions", "ids"),
    [
        ({}, ["d", "c", "b", "a"]),
        ({"kind": Kind.BURIED}, ["b", "a"]),
        ({"kind": Kind.QUARANTINED}, ["d", "c"]),
        ({"task": "other"}, ["b"]),
        ({"queue": "web"}, ["b"]),
        ({"job_id": "1"}, ["a"]),
        ({"reason": "process died"}, ["b", "a"]),
        ({"reason": "100 %"}, ["c"]),
        ({"reason": "_"}, []),
        ({"since": NOON + timedelta(seconds=1)}, ["d", "c", "b"]),
        ({"is_open": True}, ["d", "c", "a"]),
        ({"is_open": False}, ["b"]),
        ({"is_open": True, "kind": Kind.BURIED}, ["a"]),
    ],
)
def test_letters_are_listed_newest_first_and_counted_by(
    filled: str, conditions: dict[str, Any], ids: list[str]
) -> None:
    assert listed(filled, **conditions) == ids
    assert sum(counted(filled, **conditions).values()) == len(ids)


def test_letters_are_counted_by_kind(filled: str) -> None:
    assert counted(filled) == {Kind.BURIED: 2, Kind.QUARANTINED: 2}


@pytest.mark.parametrize(("oldest_first", "ids"), [(False, ["d", "c", "b", "a"]), (True, ["a", "b", "c", "d"])])
def test_page_by_page_each_letter_comes_once(filled: str, oldest_first: bool, ids: list[str]) -> None:
    """Also when letters of the same moment lie on two pages."""
    seen: list[LetterRow] = []
    with reading(filled) as connection:
        while page := letters.list_letters(
            connection, LetterFilter(), 1, after=seen[-1] if seen else None, oldest_first=oldest_first
        ):
            seen += page
    assert [row.id for row in seen] == ids


def test_a_resolved_letter_says_how_by_whom_and_as_which_job(database_url: str) -> None:
    bury(database_url, letter())
    assert resolve(database_url, letter().id, Resolution.REPLAYED, replay_job_id="9")
    row = found(database_url)
    assert (row.resolution, row.resolved_by, row.replay_job_id) == (Resolution.REPLAYED, "ada", "9")
    assert row.resolved_at is not None
    assert row.resolved_at > NOON


@pytest.mark.parametrize(
    ("resolution", "values", "action", "details"),
    [
        (Resolution.REPLAYED, {"replay_job_id": "9"}, "replay", {"letter": letter().id, "new": "9"}),
        (Resolution.DISCARDED, {}, "discard", {"letter": letter().id}),
    ],
)
def test_resolving_a_letter_is_in_the_audit_of_its_job(
    database_url: str, resolution: Resolution, values: dict[str, str], action: str, details: dict[str, str]
) -> None:
    bury(database_url, letter())
    resolve(database_url, letter().id, resolution, **values)
    (entry,) = audit(database_url)
    assert (entry.actor, entry.action, entry.details) == ("ada", action, details)


def test_of_several_who_resolve_a_letter_at_once_one_is_first(database_url: str) -> None:
    bury(database_url, letter())
    won: list[bool] = []
    threads = [
        threading.Thread(target=lambda: won.append(resolve(database_url, letter().id, Resolution.REPLAYED)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 5 + [True]
    assert len(audit(database_url)) == 1


def test_a_letter_that_does_not_exist_cannot_be_resolved(database_url: str) -> None:
    assert resolve(database_url, "none") is False


def test_a_replay_that_fails_leaves_its_letter_open(database_url: str) -> None:
    bury(database_url, letter())

    def replay() -> None:
        with writing(database_url) as connection:
            letters.mark_resolved(connection, letter().id, Resolution.REPLAYED, actor="ada")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        replay()
    assert found(database_url).resolution is None
    assert audit(database_url) == []


@pytest.mark.parametrize(
    "change", ["kind = 'lost'", "resolution = 'replayed'", "resolution = 'sold', resolved_at = CURRENT_TIMESTAMP"]
)
def test_the_database_itself_refuses_a_letter_that_makes_no_sense(database_url: str, change: str) -> None:
    bury(database_url, letter())
    with pytest.raises(exc.IntegrityError), writing(database_url) as connection:
        connection.execute(text(f"UPDATE dead_letters SET {change}"))


def test_letters_outlive_their_jobs_rows(database_url: str) -> None:
    """Retention takes the row of a failed job; the payload is all that is left to run it from."""
    bury(database_url, letter())
    with writing(database_url) as connection:
        queries.forget_job(connection, "1")
    assert found(database_url).job_id == "1"
