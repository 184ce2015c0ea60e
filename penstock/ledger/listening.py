"""Hearing of rows in the outbox soon after their transaction has committed, without asking all the time."""

from __future__ import annotations

import time
from typing import Any, Protocol

from sqlalchemy import Connection

from penstock.errors import LedgerUnavailable
from penstock.ledger.outbox import CHANNEL
from penstock.ledger.session import address, own_connection, translated

LOOK_SECONDS = 0.02
"""Between two looks whether a SQLite file has changed, of some microseconds each."""
WAITS = "SELECT 1 FROM outbox WHERE published_at IS NULL LIMIT 1"


class Listener(Protocol):
    """Listens on a connection of its own, which others use for their transactions between two calls of ``wait``."""

    connection: Connection

    def wait(self, seconds: float) -> bool:
        """Waits until somebody has committed rows, or time is up; whether there may be any.

        Raises:
            LedgerUnavailable: the connection is lost.
        """

    def close(self) -> None:
        """Closes the connection."""


def listen(url: str) -> Listener:
    """A listener on the ledger at ``url``.

    Raises:
        LedgerUnavailable: the database does not answer.
    """
    with translated(url):
        connection = own_connection(url)
        return (OnPostgreSQL if connection.dialect.name == "postgresql" else OnSQLite)(url, connection)


class OnPostgreSQL:
    """By NOTIFY, which transactions that insert rows send as they commit."""

    def __init__(self, url: str, connection: Connection) -> None:
        self._url = url
        self.connection = connection
        self._driver: Any = connection.connection.dbapi_connection
        with connection.begin():
            connection.exec_driver_sql(f"LISTEN {CHANNEL}")

    def wait(self, seconds: float) -> bool:
        """Also hears what came while the connection had other work: the driver keeps it."""
        try:
            # All of them: the driver has to be left at the end of what it gives.
            return bool(list(self._driver.notifies(timeout=seconds, stop_after=1)))
        except self.connection.dialect.loaded_dbapi.Error as error:
            raise LedgerUnavailable(f"the ledger at {address(self._url)} does not answer ({error})") from error

    def close(self) -> None:
        """Closes the connection."""
        self.connection.close()


class OnSQLite:
    """By the number that SQLite changes for all others when somebody has committed."""

    def __init__(self, url: str, connection: Connection) -> None:
        self._url = url
        self.connection = connection
        # Not by SQLAlchemy, whose transactions begin with the lock for writing.
        self._driver: Any = connection.connection.dbapi_connection
        self._version = 0

    def wait(self, seconds: float) -> bool:
        """Looks into the file's head, and into the table only if somebody has committed anything."""
        deadline = time.monotonic() + seconds
        try:
            while not self._has_changed() or not self._driver.execute(WAITS).fetchone():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                time.sleep(min(left, LOOK_SECONDS))
        except self.connection.dialect.loaded_dbapi.Error as error:
            raise LedgerUnavailable(f"the ledger at {address(self._url)} does not answer ({error})") from error
        return True

    def _has_changed(self) -> bool:
        before = self._version
        (self._version,) = self._driver.execute("PRAGMA data_version").fetchone()
        return before != self._version

    def close(self) -> None:
        """Closes the connection."""
        self.connection.close()
