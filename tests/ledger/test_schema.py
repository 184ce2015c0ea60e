"""Migrations: there and back, equal to what the code says, and a clear word when they are missing."""

import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import exc, inspect, text

from penstock.errors import LedgerOutdated, LedgerUnavailable
from penstock.job import Reason, State
from penstock.ledger import deliveries, queries, schema
from penstock.ledger.rows import AttemptRow, Delivery, JobRow, Outcome
from penstock.ledger.session import close_all, engine_for, reading, writing
from penstock.ledger.tables import metadata
from tests.conftest import NewLedger, administer, database_of
from tests.live import ROOT


def test_an_upgraded_ledger_is_what_the_code_says(database_url: str) -> None:
    with reading(database_url) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_up_down_and_up_again_gives_the_same_tables(database_url: str) -> None:
    schema.downgrade(database_url, "base")
    assert set(inspect(engine_for(database_url)).get_table_names()) == {"alembic_version"}
    schema.upgrade(database_url)
    with reading(database_url) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_upgrading_to_dead_letters_and_back_keeps_jobs_and_their_attempts(database_url: str) -> None:
    """SQLite makes the table of jobs anew for it, while attempts refer to it."""
    schema.downgrade(database_url, "0001")
    with writing(database_url) as connection:
        queries.start_attempt(connection, Delivery(id="1", task="t", args=[1]))
    before = everything_of_job_1(database_url)
    schema.upgrade(database_url)
    assert everything_of_job_1(database_url) == before
    schema.downgrade(database_url, "0001")
    assert everything_of_job_1(database_url) == before


def everything_of_job_1(url: str) -> tuple[JobRow | None, list[AttemptRow]]:
    with reading(url) as connection:
        return queries.find_job(connection, "1"), queries.attempts_of(connection, "1")


def test_after_an_upgrade_sqlite_follows_foreign_keys_again(new_ledger: NewLedger) -> None:
    with new_ledger("sqlite") as url:
        schema.downgrade(url, "0001")
        schema.upgrade(url)
        with writing(url) as connection, pytest.raises(exc.IntegrityError):
            connection.execute(text("INSERT INTO attempts (job_id, number, started_at) VALUES ('no job', 1, '')"))


def test_a_ledger_taken_back_before_blocked_jobs_has_none(database_url: str) -> None:
    """An older version knows neither the state nor the reason, and could not read the row."""
    with writing(database_url) as connection:
        deliveries.block_job(connection, Delivery(id="1", task="t"), Reason.UNKNOWN_TASK)
    schema.downgrade(database_url, "0001")
    with reading(database_url) as connection:
        row = queries.find_job(connection, "1")
    assert row is not None
    assert (row.state, row.reason) == (State.QUEUED, None)


@pytest.mark.parametrize("state", sorted(State))
def test_the_database_takes_every_state(database_url: str, state: State) -> None:
    with writing(database_url) as connection:
        queries.end_attempt(connection, Delivery(id="1", task="t"), Outcome(state=state))
    row, _ = everything_of_job_1(database_url)
    assert row is not None
    assert row.state is state


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


def test_several_upgrades_at_once_do_no_harm(database_url: str) -> None:
    schema.downgrade(database_url, "base")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(schema.upgrade, [database_url] * 6))
    schema.require_newest(database_url)


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
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
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
