"""A timed run of beats counts only when every schedule has fired once, and each side has loaded its own."""

import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, insert

from benchmarks.conditions import BenchmarkError
from benchmarks.figures import schedules
from benchmarks.figures.schedules import DECLARED, Runs, check
from benchmarks.harness import OURS, STOCK, Bench, Sql
from benchmarks.servers import Server
from penstock.ledger.tables import fires
from tests.servers import running

COUNT = 3
NOW = datetime.now(UTC)


@pytest.fixture
def sql(database_url: str) -> Iterator[Sql]:
    """An empty ledger, as the harness makes it."""
    engine = create_engine(database_url)
    yield Sql(f"penstock.ledger.backend:LedgerBackend+{database_url}", engine)
    engine.dispose()


@pytest.fixture
def bench(sql: Sql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A harness whose servers are those of the tests."""

    @contextmanager
    def given(*_: Any) -> Iterator[Sql]:
        yield sql

    with ExitStack() as stack, running("valkey", tcp=True) as valkey:
        monkeypatch.setattr(Bench, "sql", given)
        monkeypatch.setattr(Bench, "server", lambda *_: Server(valkey.port))
        yield Bench(tmp_path, smoke=True, parked=0, stack=stack)


def fired(sql: Sql, count: int, **changed: Any) -> list[str]:
    """Writes fires; the ids of their jobs."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    usual = {"planned_at": NOW, "origin": "planned", "state": "fired", "decided_at": NOW, "is_followed": False}
    with sql.engine.begin() as connection:
        connection.execute(insert(fires), [{"schedule": id, "job_id": id} | usual | changed for id in ids])
    return ids


def messages(ids: list[str]) -> list[bytes | str]:
    return [json.dumps({"headers": {"id": id}}).encode() for id in ids]


def test_each_schedule_fired_once_and_each_job_there_once_counts(sql: Sql) -> None:
    check(sql, messages(fired(sql, COUNT)), COUNT)


def test_a_message_that_is_there_twice_is_refused(sql: Sql) -> None:
    ids = fired(sql, COUNT)
    with pytest.raises(BenchmarkError, match="3 messages, 3 fired, 0 not, of 3 schedules"):
        check(sql, messages([*ids[1:], ids[1]]), COUNT)


def test_a_message_of_no_fire_is_refused(sql: Sql) -> None:
    ids = fired(sql, COUNT)
    with pytest.raises(BenchmarkError, match="3 messages, 3 fired"):
        check(sql, messages([*ids[1:], "somebody else's"]), COUNT)


@pytest.mark.parametrize("count", [COUNT - 1, COUNT + 1])
def test_a_wrong_count_is_refused(sql: Sql, count: int) -> None:
    with pytest.raises(BenchmarkError, match=f"3 messages, 3 fired, 0 not, of {count} schedules"):
        check(sql, messages(fired(sql, COUNT)), count)


def test_a_fire_that_was_skipped_is_refused_unless_it_was_planned_after_what_is_measured(sql: Sql) -> None:
    ids = fired(sql, COUNT)
    fired(sql, 1, state="skipped", reason="paused", job_id=None)
    with pytest.raises(BenchmarkError, match="3 messages, 3 fired, 1 not"):
        check(sql, messages(ids), COUNT)
    check(sql, messages(ids), COUNT, before=NOW.timestamp())


@pytest.mark.slow
def test_two_beats_are_timed_and_say_what_they_are(bench: Bench) -> None:
    runs = Runs()
    schedules.fire(bench, runs, COUNT, beats=2, variables=DECLARED)
    assert 0 < runs.seconds[0] < 60
    assert bench.ran[OURS]["scheduler"] == "penstock.scheduler.beat.Scheduler"


@pytest.mark.slow
def test_a_stock_beat_that_has_loaded_penstock_is_refused(bench: Bench) -> None:
    server, file = bench.server(STOCK), {"BENCH_SCHEDULE_FILE": str(bench.folder / "schedule")}
    with bench.beats(STOCK, server, variables=file):
        pass
    assert bench.ran[STOCK]["scheduler"] == "celery.beat.PersistentScheduler"
    with (
        pytest.raises(BenchmarkError, match="penstock is loaded"),
        bench.beats(STOCK, server, variables=DECLARED | file),
    ):
        pass
