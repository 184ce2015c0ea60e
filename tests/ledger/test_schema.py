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
from penstock.ledger import queries, schema
from penstock.ledger.session import close_all, engine_for, reading, writing
from penstock.ledger.tables import metadata
from tests.conftest import administer, database_of
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
