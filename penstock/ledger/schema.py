"""How the tables come to be: Alembic migrations that ship with the library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from penstock.errors import LedgerOutdated, LedgerUnavailable
from penstock.ledger.session import address, migrating, reading

VERSION_TABLE, FORMER_VERSION_TABLE = "penstock_version", "alembic_version"
"""Where the revision is kept. Not under Alembic's own name: the application's migrations use that in this database."""
MIGRATION_LOCK = 0x70656E73746F636B  # "penstock"
SCRIPTS = Path(__file__).parent / "migrations"
LOCK_SECONDS, STATEMENT_SECONDS = 10.0, 1800.0
"""How long a migration waits for one lock on a table, while whoever comes later waits behind it; and for anything."""
LOCK_NOT_AVAILABLE, QUERY_CANCELED = "55P03", "57014"


def upgrade(url: str, revision: str = "head") -> None:
    """Brings the ledger's tables to ``revision``; does nothing when they are there.

    Raises:
        LedgerUnavailable: the database does not answer, or others use its tables for too long. Nothing has changed.
    """
    with _alone(url) as config:
        command.upgrade(config, revision)


def downgrade(url: str, revision: str) -> None:
    """Takes the tables back to ``revision``; ``base`` removes them with all that they hold.

    Raises:
        LedgerUnavailable: as :func:`upgrade`.
    """
    with _alone(url) as config:
        command.downgrade(config, revision)


@contextmanager
def _alone(url: str) -> Iterator[Config]:
    """One transaction, and no other migration beside it."""
    try:
        with migrating(url) as connection:
            _wait_for_others(connection)
            _rename_version_table(connection)
            config = _config()
            config.attributes.update(connection=connection, version_table=VERSION_TABLE)
            yield config
    except LedgerUnavailable as error:
        state = getattr(getattr(error.__cause__, "orig", None), "sqlstate", None)
        if state not in (LOCK_NOT_AVAILABLE, QUERY_CANCELED):
            raise
        raise LedgerUnavailable(
            f"the tables of the ledger at {address(url)} were in use for too long, and nothing was changed; end long "
            "transactions (see pg_stat_activity) or stop the workers, and repeat the command"
        ) from error


def _wait_for_others(connection: Connection) -> None:
    """One migration at a time: on PostgreSQL by a lock that ends with the transaction; SQLite has one writer anyway.

    A migration that waits for a lock on a table holds up everybody who comes after it, so it does not wait for long;
    for another migration it may, which holds up nobody.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL statement_timeout = {int(STATEMENT_SECONDS * 1000)}"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.execute(text(f"SET LOCAL lock_timeout = {int(LOCK_SECONDS * 1000)}"))


def _rename_version_table(connection: Connection) -> None:
    """Older ledgers keep their revision under Alembic's name; somebody else's table of that name stays."""
    tables = inspect(connection).get_table_names()
    if VERSION_TABLE in tables or not {FORMER_VERSION_TABLE, "jobs", "attempts"} <= set(tables):
        return
    found = connection.execute(text(f"SELECT version_num FROM {FORMER_VERSION_TABLE}")).scalars()  # noqa: S608
    if not set(found) <= _known_revisions():
        return
    connection.execute(text(f"ALTER TABLE {FORMER_VERSION_TABLE} RENAME TO {VERSION_TABLE}"))
    if connection.dialect.name == "postgresql":
        key = f"RENAME CONSTRAINT {FORMER_VERSION_TABLE}_pkc TO {VERSION_TABLE}_pkc"
        connection.execute(text(f"ALTER TABLE {VERSION_TABLE} {key}"))


def revision_of(url: str) -> str | None:
    """The revision of the database's tables; None when there are none."""
    with reading(url) as connection:
        return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def newest_revision() -> str:
    """The revision that this version of the library needs."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def require_newest(url: str) -> None:
    """Raises LedgerOutdated unless the tables are those that this version of the library needs."""
    found, needed = revision_of(url), newest_revision()
    if found == needed:
        return
    if found and found not in _known_revisions():
        raise LedgerOutdated(
            f"the ledger at {address(url)} is at revision {found}, which this version does not know (its newest is "
            f"{needed}); run the version of Penstock that made it, or a newer one"
        )
    state = f"is at revision {found}" if found else "has no tables yet"
    raise LedgerOutdated(
        f"the ledger at {address(url)} {state}, this version needs {needed}; run `celery -A workers ledger upgrade`"
    )


def _known_revisions() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
