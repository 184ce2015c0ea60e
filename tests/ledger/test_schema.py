"""Migrations: there and back, equal to what the code says, and a clear word when they are missing."""

import subprocess
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import exc, insert, inspect, text, update

from penstock.errors import LedgerOutdated, LedgerUnavailable
from penstock.job import TRANSITIONS, Reason, State
from penstock.ledger import queries, schema
from penstock.ledger.recorder import Recorder
from penstock.ledger.rows import Failure, JobRow, Outcome
from penstock.ledger.session import close_all, engine_for, reading, writing
from penstock.ledger.tables import jobs, metadata, outbox
from tests.conftest import NewLedger, administer, database_of
from tests.ledger.making import aside, delivery, end, start, write
from tests.live import ROOT

OPTIONS = {"version_table": schema.VERSION_TABLE}


def test_an_upgraded_ledger_is_what_the_code_says(database_url: str) -> None:
    with reading(database_url) as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=OPTIONS), metadata) == []


def test_up_down_and_up_again_gives_the_same_tables(database_url: str) -> None:
    schema.downgrade(database_url, "base")
    assert set(inspect(engine_for(database_url)).get_table_names()) == {"penstock_version"}
    schema.upgrade(database_url)
    with reading(database_url) as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=OPTIONS), metadata) == []


def test_the_applications_own_migrations_keep_their_revision_in_the_same_database(database_url: str) -> None:
    with writing(database_url) as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('the shop')"))
    schema.upgrade(database_url)
    schema.require_newest(database_url)
    with reading(database_url) as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == ["the shop"]


def test_a_ledger_whose_revision_has_alembics_own_name_takes_it_along(database_url: str) -> None:
    with writing(database_url) as connection:
        connection.execute(text("ALTER TABLE penstock_version RENAME TO alembic_version"))
        if connection.dialect.name == "postgresql":
            key = "RENAME CONSTRAINT penstock_version_pkc TO alembic_version_pkc"
            connection.execute(text(f"ALTER TABLE alembic_version {key}"))
    schema.upgrade(database_url)
    schema.require_newest(database_url)
    with writing(database_url) as connection:
        key = "CONSTRAINT alembic_version_pkc PRIMARY KEY"
        connection.execute(text(f"CREATE TABLE alembic_version (version_num VARCHAR(32) {key})"))


JOB_OF_0001 = """
    INSERT INTO jobs (id, task, state, retries, attempts, worker, finished_at, started_at, updated_at)
    VALUES (:id, 't', :state, 0, :attempts, 'w', :finished_at,
        '2026-11-22 12:00:00.000000', '2026-11-22 12:00:00.000000')
"""
ATTEMPT_OF_0001 = """
    INSERT INTO attempts (job_id, number, worker, started_at, finished_at, outcome)
    VALUES (:id, :number, 'w', '2026-11-22 12:00:00.000000', :finished_at, :outcome)
"""
NOON = "2026-11-22 12:00:00.000000"
OLD_JOBS = (
    {"id": "running", "state": "running", "attempts": 1, "finished_at": None},
    {"id": "done", "state": "succeeded", "attempts": 1, "finished_at": NOON},
    {"id": "again", "state": "running", "attempts": 3, "finished_at": None},
)
OLD_ATTEMPTS = (
    {"id": "running", "number": 1, "finished_at": None, "outcome": None},
    {"id": "done", "number": 1, "finished_at": NOON, "outcome": "succeeded"},
    {"id": "again", "number": 1, "finished_at": NOON, "outcome": "crashed"},
    {"id": "again", "number": 2, "finished_at": None, "outcome": None},
    {"id": "again", "number": 3, "finished_at": None, "outcome": None},
)


def fill_ledger_of_0001(url: str) -> None:
    schema.downgrade(url, "0001")
    with writing(url) as connection:
        connection.execute(text(JOB_OF_0001), OLD_JOBS)
        connection.execute(text(ATTEMPT_OF_0001), OLD_ATTEMPTS)


def history(url: str) -> dict[str, list[str | None]]:
    with reading(url) as connection:
        return {
            job["id"]: [attempt.outcome for attempt in queries.attempts_of(connection, str(job["id"]))]
            for job in OLD_JOBS
        }


def test_attempts_of_before_are_told_by_their_jobs_row_or_were_lost(database_url: str) -> None:
    """SQLite makes the table of jobs anew for it, while attempts refer to it."""
    fill_ledger_of_0001(database_url)
    schema.upgrade(database_url)
    assert history(database_url) == {"running": [None], "done": ["succeeded"], "again": ["crashed", "lost", None]}


def test_jobs_and_attempts_survive_the_way_down_and_up_again(database_url: str) -> None:
    fill_ledger_of_0001(database_url)
    schema.upgrade(database_url)
    write(database_url, end(delivery("new", token="a:1", args=[1])))
    before = history(database_url), job_of(database_url, "new")
    for revision in ("0003", "0002", "0001"):
        schema.downgrade(database_url, revision)
    with reading(database_url) as connection:
        attempts = {tuple(row) for row in connection.execute(text("SELECT job_id, number, outcome FROM attempts"))}
    assert {("running", 1, None), ("again", 2, "lost"), ("again", 3, None), ("new", 1, "succeeded")} <= attempts
    schema.upgrade(database_url)
    after = job_of(database_url, "new")
    assert (history(database_url), replace(after, token="a:1")) == before


def job_of(url: str, id: str) -> JobRow:
    with reading(url) as connection:
        row = queries.find_job(connection, id)
    assert row is not None
    return row


def test_a_ledger_whose_outbox_holds_unpublished_jobs_is_not_taken_back(database_url: str) -> None:
    with writing(database_url) as connection:
        now = datetime.now(UTC)
        values = {"key": "1", "job_id": "1", "task": "t", "queue": "q", "step": 0, "payload": b"x", "created_at": now}
        connection.execute(insert(outbox).values(**values))
    with pytest.raises(RuntimeError, match="let a worker publish them first"):
        schema.downgrade(database_url, "0002")
    schema.require_newest(database_url)


def test_after_an_upgrade_sqlite_follows_foreign_keys_again(new_ledger: NewLedger) -> None:
    with new_ledger("sqlite") as url:
        schema.downgrade(url, "0001")
        schema.upgrade(url)
        with writing(url) as connection, pytest.raises(exc.IntegrityError):
            connection.execute(text("INSERT INTO attempts (job_id, number, started_at) VALUES ('no job', 1, '')"))


def test_a_ledger_taken_back_before_failed_jobs_were_discarded_has_no_such_reason(database_url: str) -> None:
    failed = Outcome(state=State.FAILED, reason=Reason.DISCARDED, failure=Failure(type="E", message="", exception={}))
    write(database_url, end(delivery(), failed))
    schema.downgrade(database_url, "0005")
    with reading(database_url) as connection:
        assert connection.exec_driver_sql("SELECT reason FROM jobs").scalar_one() == "error"


def test_a_ledger_taken_back_before_blocked_jobs_has_none(database_url: str) -> None:
    """An older version knows neither the state nor the reason, and could not read the row."""
    write(database_url, aside())
    schema.downgrade(database_url, "0001")
    with reading(database_url) as connection:
        row = connection.execute(text("SELECT state, reason FROM jobs")).one()
    assert tuple(row) == ("queued", None)


@pytest.mark.parametrize("old", sorted(State))
def test_the_database_itself_knows_the_transitions(database_url: str, old: State) -> None:
    """Whoever bypasses the library cannot bring a job into a state that may not follow, above all none that has ended.

    The state machine is written a second time in the migration, because a migration must not change with the code.
    """
    refused = set()
    for new in State:
        with writing(database_url) as connection:
            connection.execute(insert(jobs).values(id=f"{old}-{new}", task="t", **as_state(old)))
        if not can_update(database_url, f"{old}-{new}", new):
            refused.add(new)
    assert refused == set(State) - TRANSITIONS[old] - {old}


def can_update(url: str, id: str, state: State) -> bool:
    try:
        with writing(url) as connection:
            connection.execute(update(jobs).where(jobs.c.id == id).values(**as_state(state)))
    except exc.IntegrityError as error:
        return "cannot go from this state to that one" not in str(error)
    return True


def as_state(state: State) -> dict[str, Any]:
    now = datetime.now(UTC)
    finished_at, reason = now if state.is_final else None, "error" if state is State.BLOCKED else None
    return {"state": state, "reason": reason, "started_at": now, "finished_at": finished_at, "updated_at": now}


def test_a_row_that_has_ended_can_still_be_completed(database_url: str) -> None:
    write(database_url, end())
    with writing(database_url) as connection:
        connection.execute(update(jobs).values(state="succeeded", queue="web"))
    assert job_of(database_url, "1").queue == "web"


def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    schema.upgrade(database_url)
    schema.require_newest(database_url)


def test_a_missing_migration_names_the_remedy(database_url: str) -> None:
    schema.downgrade(database_url, "base")
    with pytest.raises(LedgerOutdated, match="run `celery -A workers ledger upgrade`"):
        schema.require_newest(database_url)
    with (
        pytest.raises(LedgerOutdated, match="run `celery -A workers ledger upgrade`"),
        reading(database_url) as connection,
    ):
        queries.find_job(connection, "any")


@pytest.mark.parametrize("revision", ["0002", "base"])
def test_recording_into_tables_of_before_names_the_remedy(database_url: str, revision: str) -> None:
    """A worker of a new version keeps its outcomes until somebody has brought the tables up to it."""
    schema.downgrade(database_url, revision)
    for told in (end(), start(delivery(retries=1))):
        with pytest.raises(LedgerOutdated, match="run `celery -A workers ledger upgrade`"):
            Recorder(database_url).write([told])


def test_several_upgrades_at_once_do_no_harm(database_url: str) -> None:
    schema.downgrade(database_url, "base")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(schema.upgrade, [database_url] * 6))
    schema.require_newest(database_url)


def test_a_migration_does_not_wait_long_for_a_table_and_names_the_remedy(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody who comes after it would wait behind it."""
    monkeypatch.setattr(schema, "LOCK_SECONDS", 0.1)
    with writing(postgresql_url) as connection:
        connection.execute(text("LOCK TABLE jobs IN ACCESS SHARE MODE"))
        with pytest.raises(LedgerUnavailable, match="end long transactions"):
            schema.downgrade(postgresql_url, "0001")
    schema.require_newest(postgresql_url)


def test_a_migration_that_takes_too_long_changes_nothing(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "STATEMENT_SECONDS", 0.1)
    with writing(postgresql_url) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": schema.MIGRATION_LOCK})
        with pytest.raises(LedgerUnavailable, match="nothing was changed"):
            schema.downgrade(postgresql_url, "0001")
    schema.require_newest(postgresql_url)


def test_taking_a_ledger_back_and_forth_at_once_does_no_harm(database_url: str) -> None:
    ways: list[Callable[[str], None]] = [schema.upgrade, lambda url: schema.downgrade(url, "0002")] * 3
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda way: way(database_url), ways))
    schema.upgrade(database_url)
    with reading(database_url) as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=OPTIONS), metadata) == []


def test_a_read_only_database_counts_as_one_that_is_away(postgresql_url: str) -> None:
    """A standby, or a failover in progress: an outcome must wait for its end."""

    def write() -> None:
        with writing(postgresql_url) as connection:
            connection.execute(text("SET TRANSACTION READ ONLY"))
            queries.forget_job(connection, "any")

    with pytest.raises(LedgerUnavailable, match="read-only"):
        write()


def test_a_ledger_of_a_newer_version_is_not_told_to_upgrade(database_url: str) -> None:
    with writing(database_url) as connection:
        connection.execute(text("UPDATE penstock_version SET version_num = '9999'"))
    with pytest.raises(LedgerOutdated, match="run the version of Penstock that made it, or a newer one"):
        schema.require_newest(database_url)


def test_a_file_that_is_no_database_gives_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("not a database, but long enough to look like one" * 50)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        schema.require_newest(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_a_folder_that_cannot_be_made_gives_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerUnavailable, match="cannot be made"):
        schema.require_newest(f"sqlite:///{tmp_path / 'file' / 'ledger.db'}")


@pytest.mark.parametrize(
    "values",
    ["'resting', NULL", "'succeeded', NULL", "'running', CURRENT_TIMESTAMP"],
    ids=["unknown state", "final without an end", "an end that is not final"],
)
def test_the_database_itself_refuses_a_row_that_breaks_the_state_machine(database_url: str, values: str) -> None:
    row = f"INSERT INTO jobs (id, task, state, finished_at, updated_at) VALUES ('1', 't', {values}, CURRENT_TIMESTAMP)"
    with pytest.raises(exc.IntegrityError), writing(database_url) as connection:
        connection.execute(text(row))


def test_a_database_that_is_down_gives_one_clear_error_without_its_password() -> None:
    url = "postgresql+psycopg://user:geheim@127.0.0.1:1/db"
    with pytest.raises(LedgerUnavailable, match="start it or correct DATABASE_URL") as raised:
        schema.require_newest(url)
    assert "geheim" not in str(raised.value)


def test_a_database_without_an_encoding_of_its_own_is_served_as_well(postgresql_server: str) -> None:
    name = f"penstock_ascii_{uuid.uuid4().hex[:8]}"
    make = f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    administer(postgresql_server, make)
    url = database_of(postgresql_server, name)
    schema.upgrade(url)
    schema.require_newest(url)
    close_all()
    administer(postgresql_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["worker", "beat"])
def test_no_process_starts_on_a_ledger_without_tables(environment: dict[str, str], command: str) -> None:
    schema.downgrade(environment["DATABASE_URL"], "base")
    ended = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers", command],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode != 0
    assert "run `celery -A workers ledger upgrade`" in ended.stderr
    assert "Traceback" not in ended.stderr
