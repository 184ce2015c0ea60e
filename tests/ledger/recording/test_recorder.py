"""Batches are written once and whole, whatever is in them and whatever goes wrong on the way."""

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from sqlalchemy import Connection, event, text

from penstock.errors import LedgerUnavailable
from penstock.job import Reason, State
from penstock.ledger import schema, session
from penstock.ledger.recorder import Recorder
from penstock.ledger.recording import postgresql, record
from penstock.ledger.records import Encoded, Verdict
from penstock.ledger.rows import Outcome
from penstock.ledger.session import engine_for, writing
from tests.conftest import NewLedger
from tests.ledger.making import SUCCEEDED, end, running, start
from tests.ledger.recording.job import Job
from tests.live import wait_for

WON, ENDED, STALE = Verdict.WON, Verdict.ENDED, Verdict.STALE


def neighbours(job: Job, count: int = 20) -> list[Job]:
    """Other jobs of the same batch."""
    return [Job(job.url, f"{job.id}-{n}") for n in range(count)]


def test_a_batch_is_written_whole(job: Job) -> None:
    told = [end(other.claim()) for other in neighbours(job)]
    written = Recorder(job.url).write(told)
    assert (written.verdicts, written.messages) == ([WON] * 20, [])
    assert all(other.state is State.SUCCEEDED for other in neighbours(job))


def test_a_batch_of_nothing_writes_nothing(database_url: str) -> None:
    assert Recorder(database_url).write([]).verdicts == []


# -- one row that the database refuses -------------------------------------------------------------------------------

BAD_RESULTS = {"lone surrogate": Encoded('"\ud800"'), "no JSON": object(), "not a number": float("nan")}


@pytest.mark.parametrize("kind", BAD_RESULTS)
@pytest.mark.parametrize("place", [0, 7, 20])
def test_one_result_that_nobody_can_store_fails_its_own_job_only(job: Job, kind: str, place: int) -> None:
    told = [end(other.claim()) for other in neighbours(job)]
    told.insert(place, end(job.claim(), Outcome(state=State.SUCCEEDED, result=BAD_RESULTS[kind])))
    assert Recorder(job.url).write(told).verdicts == [WON] * 21
    row = job.row
    assert (row.state, row.reason, row.result) == (State.FAILED, Reason.UNSERIALISABLE, None)
    assert "the ledger refused the outcome: " in (row.error_message or "")
    assert all(other.state is State.SUCCEEDED for other in neighbours(job))


def test_several_rows_that_nobody_can_store_are_all_found(job: Job) -> None:
    bad = Outcome(state=State.SUCCEEDED, result=object())
    told = [end(other.claim(), bad if place % 3 else SUCCEEDED) for place, other in enumerate(neighbours(job))]
    assert Recorder(job.url).write(told).verdicts == [WON] * 20
    assert [other.state for other in neighbours(job, 4)] == [State.SUCCEEDED, *[State.FAILED] * 2, State.SUCCEEDED]


def test_the_error_names_the_cause(job: Job) -> None:
    Recorder(job.url).write([end(job.claim(), Outcome(state=State.SUCCEEDED, result=object()))])
    assert "Object of type object is not JSON serializable" in (job.row.error_message or "")


def test_a_job_whose_outcome_cannot_be_stored_sends_nothing_and_counts_as_a_part(job: Job) -> None:
    """What would follow from its success must not happen, and the chord must not wait for it for ever."""
    outcome = Outcome(state=State.SUCCEEDED, result=object())
    told = end(job.claim(), outcome, follow_ups=(job.follow_up(),), parts=(job.part(job.id, 1),))
    messages = Recorder(job.url).write([told]).messages
    assert [message.task for message in messages] == ["celery.chord_unlock"]
    assert list(job.outbox) == [messages[0].key]


def test_a_follow_up_that_nobody_can_store_fails_the_job_that_sends_it(job: Job) -> None:
    told = end(job.claim(), follow_ups=(job.follow_up(), job.follow_up(f"{job.id}-2", step=10**30)))
    assert Recorder(job.url).write([told]).verdicts == [WON]
    assert (job.row.reason, job.outbox) == (Reason.UNSERIALISABLE, {})


def test_arguments_that_nobody_can_store_do_not_cost_the_outcome(job: Job) -> None:
    told = end(job.claim(args=Encoded('["\ud800"]')), Outcome(state=State.SUCCEEDED, result=Encoded("42")))
    assert Recorder(job.url).write([told]).verdicts == [WON]
    assert (job.state, job.row.result, job.row.args) == (State.SUCCEEDED, 42, ["…"])


def test_arguments_that_are_not_json_are_kept_as_text(job: Job) -> None:
    Recorder(job.url).write([start(job.claim(args=[float("nan")])), end(job.claim(args=[float("nan")]))])
    assert (job.state, job.row.args) == (State.SUCCEEDED, ["[nan]"])


@pytest.mark.parametrize("values", [{"retries": -1}, {"priority": 10**30}, {"priority": object()}])
def test_a_delivery_that_nobody_can_store_is_recorded_with_what_is_certain(job: Job, values: dict[str, Any]) -> None:
    told = [end(job.claim(**values)), *(end(other.claim()) for other in neighbours(job))]
    assert Recorder(job.url).write(told).verdicts == [WON] * 21
    assert (job.state, job.row.reason, job.row.task) == (State.FAILED, Reason.UNSERIALISABLE, "t")


def test_progress_that_nobody_can_store_does_not_cost_the_job(job: Job) -> None:
    told = running(job.claim(), progress=Encoded('"\ud800"'))
    assert Recorder(job.url).write([told, end(job.claim())]).verdicts == [WON, WON]
    assert (job.state, job.row.progress) == (State.SUCCEEDED, None)


def test_a_start_that_nobody_can_store_keeps_the_job_from_running(job: Job) -> None:
    assert Recorder(job.url).write([start(job.claim(priority=10**30))]).verdicts == [ENDED]
    assert (job.state, job.row.reason) == (State.FAILED, Reason.UNSERIALISABLE)


def test_a_bad_row_of_an_attempt_that_was_taken_over_changes_nothing(job: Job) -> None:
    job.tell(start(job.claim("b:1", 0, 1)))
    before = job.everything
    told = end(job.claim(), Outcome(state=State.SUCCEEDED, result=object()))
    assert Recorder(job.url).write([told]).verdicts == [STALE]
    assert job.everything == before


@pytest.mark.parametrize("value", ["\x00", "\ud800", "\udcff\x00" * 10], ids=["NUL", "surrogate", "both"])
def test_a_character_that_json_can_escape_is_stored_as_it_is(job: Job, value: str) -> None:
    told = end(job.claim(args=[value]), Outcome(state=State.SUCCEEDED, result={"a": value}))
    assert Recorder(job.url).write([told]).verdicts == [WON]
    assert (job.row.result, job.row.args) == ({"a": value}, [value])


def test_nesting_that_the_database_cannot_read_fails_its_own_job_only(postgresql_url: str) -> None:
    """Its error is of the class of limits, which is neither one of data nor one that passes."""
    job = Job(postgresql_url, "1")
    deep = Encoded("[" * 50_000 + "]" * 50_000)
    told = [end(job.claim(), Outcome(state=State.SUCCEEDED, result=deep)), *(end(o.claim()) for o in neighbours(job))]
    assert Recorder(postgresql_url).write(told).verdicts == [WON] * 21
    assert job.row.reason is Reason.UNSERIALISABLE
    assert "stack depth limit exceeded" in (job.row.error_message or "")


# -- others in the way ----------------------------------------------------------------------------------------------


def test_a_deadlock_is_repeated(postgresql_url: str) -> None:
    """Rows are locked in the order of their ids here, and somebody else does it the other way round."""
    first, second = Job(postgresql_url, "1"), Job(postgresql_url, "2")
    for job in (first, second):
        job.tell(start(job.claim()))
    with ThreadPoolExecutor(1) as pool:
        with writing(postgresql_url) as connection:
            # So that the other one is found to be the victim.
            connection.execute(text("SET LOCAL deadlock_timeout = '60s'"))
            connection.execute(text("SELECT 1 FROM jobs WHERE id = '2' FOR UPDATE"))
            written = pool.submit(Recorder(postgresql_url).write, [end(first.claim()), end(second.claim())])
            wait_for(lambda: waiting_for_locks(postgresql_url) == 1, "the batch waits for the second row")
            connection.execute(text("SELECT 1 FROM jobs WHERE id = '1' FOR UPDATE"))
        assert written.result(20).verdicts == [WON, WON]


def test_a_row_that_somebody_else_is_changing_is_judged_by_what_it_becomes(postgresql_url: str) -> None:
    job = Job(postgresql_url, "1")
    job.tell(start(job.claim()))
    with ThreadPoolExecutor(1) as pool:
        with writing(postgresql_url) as connection:
            record(connection, [start(job.claim("b:1", 0, 1))])
            late = pool.submit(Recorder(postgresql_url).write, [end(job.claim())])
            wait_for(lambda: waiting_for_locks(postgresql_url) == 1, "the late end waits for the row")
        assert late.result(20).verdicts == [STALE]
    assert (job.state, job.row.token) == (State.RUNNING, "b:1")


def test_rows_that_are_judged_are_nobody_elses_until_the_end(postgresql_url: str) -> None:
    job = Job(postgresql_url, "1")
    job.tell(start(job.claim()))

    def lock() -> None:
        with writing(postgresql_url) as connection:
            connection.execute(text("SELECT 1 FROM jobs FOR UPDATE NOWAIT"))

    with writing(postgresql_url) as connection:
        assert postgresql.lock(connection, ["1"])["1"].token == "a:1"
        with pytest.raises(LedgerUnavailable, match="could not obtain lock"):
            lock()


def test_a_row_that_somebody_else_is_making_is_judged_by_what_it_is(postgresql_url: str) -> None:
    job = Job(postgresql_url, "1")
    with ThreadPoolExecutor(1) as pool:
        with writing(postgresql_url) as connection:
            record(connection, [start(job.claim("b:1", 0, 1))])
            late = pool.submit(Recorder(postgresql_url).write, [end(job.claim())])
            wait_for(lambda: waiting_for_locks(postgresql_url) == 1, "the late end waits for the row")
        assert late.result(20).verdicts == [STALE]


def waiting_for_locks(url: str) -> int:
    with session.reading(url) as connection:
        here = "wait_event_type = 'Lock' AND datname = current_database()"
        statement = f"SELECT count(*) FROM pg_stat_activity WHERE {here}"
        return int(connection.execute(text(statement)).scalar_one())


def test_serialization_failures_are_repeated(postgresql_url: str) -> None:
    """Some databases are set up so; then whoever writes the same rows at once fails and must come again."""
    with writing(postgresql_url) as connection:
        name = connection.execute(text("SELECT current_database()")).scalar_one()
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"))
    session.close_all()
    jobs = neighbours(Job(postgresql_url, "1"))

    def tell(token: str) -> list[Verdict]:
        return Recorder(postgresql_url).write([end(job.claim(token)) for job in jobs]).verdicts

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(tell, [f"{worker}:1" for worker in "abcd"]))
    assert sorted(verdicts.count(WON) for verdicts in told) == [0, 0, 0, 20]


def test_a_busy_database_is_waited_for(new_ledger: NewLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "BUSY_SECONDS", 0.02)
    with new_ledger("sqlite") as url:
        job = Job(url, "1")
        with ThreadPoolExecutor(1) as pool:
            with writing(url) as connection:
                written = pool.submit(Recorder(url).write, [end(job.claim())])
                connection.execute(text("DELETE FROM audit"))
                with pytest.raises(TimeoutError):
                    written.result(0.3)
            assert written.result(20).verdicts == [WON]


def test_batches_of_the_same_jobs_at_once_leave_one_winner_for_each(job: Job) -> None:
    jobs = neighbours(job)

    def tell(worker: int) -> list[Verdict]:
        told = [end(each.claim(f"{worker}:1")) for each in jobs]
        return Recorder(job.url).write(told if worker % 2 else told[::-1]).verdicts[:: 1 if worker % 2 else -1]

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(tell, range(8)))
    assert [verdicts.count(WON) for verdicts in zip(*told, strict=True)] == [1] * 20
    assert all(each.row.attempts == 1 for each in jobs)


# -- SQL goes away ----------------------------------------------------------------------------------------------------


@contextmanager
def lost_answer(url: str) -> Iterator[None]:
    """The next COMMIT goes through, and its answer does not arrive."""

    def commit(connection: Connection) -> None:
        event.remove(engine_for(url), "commit", commit)
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.commit()
        raise LedgerUnavailable("the connection was cut")

    event.listen(engine_for(url), "commit", commit)
    with pytest.raises(LedgerUnavailable):
        yield


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.SCHEDULED, State.QUEUED])
def test_a_batch_whose_commit_was_not_answered_is_written_again_and_has_won(job: Job, state: State) -> None:
    told = [
        end(job.claim(), Outcome(state=state), follow_ups=(job.retry,), parts=(job.part(job.id, 1),)),
        *(end(other.claim()) for other in neighbours(job)),
    ]
    with lost_answer(job.url):
        Recorder(job.url).write(told)
    before = job.everything
    written = Recorder(job.url).write(told)
    assert written.verdicts == [WON] * 21
    assert job.retry in written.messages
    assert job.everything == before


def test_a_start_whose_commit_was_not_answered_is_told_again_and_has_won(job: Job) -> None:
    with lost_answer(job.url):
        Recorder(job.url).write([start(job.claim())])
    assert Recorder(job.url).write([start(job.claim())]).verdicts == [WON]
    assert job.row.attempts == 1


def test_a_connection_that_the_server_has_ended_is_one_that_may_come_back(postgresql_url: str) -> None:
    job = Job(postgresql_url, "1")

    def write() -> None:
        with writing(postgresql_url) as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with session.reading(postgresql_url) as other:
                other.execute(text(f"SELECT pg_terminate_backend({pid})"))
            record(connection, [end(job.claim())])

    with pytest.raises(LedgerUnavailable, match="start it or correct DATABASE_URL"):
        write()
    assert Recorder(postgresql_url).write([end(job.claim())]).verdicts == [WON]


def test_an_outcome_waits_for_a_ledger_that_has_no_tables_yet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = f"sqlite:///{tmp_path / 'late.db'}"
    job = Job(url, "1")
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(Recorder(url).write_patiently, end(job.claim()))
        wait_for(lambda: "this outcome is kept" in caplog.text, "the recorder says that it waits")
        schema.upgrade(url)
        assert told.result(20) is WON
    assert job.state is State.SUCCEEDED


# It may strike inside a callback of the garbage collector, where Python swallows it with this warning.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_time_limit_that_is_meant_for_the_body_does_not_cost_the_outcome(tmp_path: Path) -> None:
    """Celery raises a soft time limit in the main thread wherever it is, also while an outcome waits for SQL."""
    url = f"sqlite:///{tmp_path / 'late.db'}"
    later = iter([0.3, 0.0])
    mending = threading.Timer(1.2, schema.upgrade, [url])

    def on_alarm(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, next(later))
        raise SoftTimeLimitExceeded

    mending.start()
    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        assert Recorder(url).write_patiently(end(Job(url, "1").claim())) is WON
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        mending.join()
