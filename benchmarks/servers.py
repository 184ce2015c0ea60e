"""The servers that are measured: a Redis of the run's own, and databases of its own on a PostgreSQL that is there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from benchmarks.conditions import BenchmarkError, wait_for

START_SECONDS = 30.0
DATABASE = os.environ.get("BENCH_DATABASE", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
"""A PostgreSQL on which databases may be made."""
SERVER_OPTIONS = {
    "bind": "127.0.0.1",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "everysec",
    # A rewrite in the middle of one side's turn would be charged to that side.
    "auto-aof-rewrite-percentage": "0",
    "maxmemory-policy": "noeviction",
    "loglevel": "warning",
}


@dataclass(frozen=True)
class Usage:
    """What a server has done since it started."""

    commands: int
    cpu_us: float
    bytes: int

    def __sub__(self, before: Usage) -> Usage:
        return Usage(self.commands - before.commands, self.cpu_us - before.cpu_us, self.bytes - before.bytes)


class Server:
    """A running Redis."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"redis://127.0.0.1:{port}"
        self.client = redis.Redis(host="127.0.0.1", port=port)

    def usage(self) -> Usage:
        """Commands without this one; CPU of all its threads, user and system; bytes in both directions."""
        info = self.client.info("everything")
        return Usage(
            commands=sum(value["calls"] for name, value in info.items() if name.startswith("cmdstat_"))
            - info.get("cmdstat_info", {}).get("calls", 0),
            cpu_us=(info["used_cpu_user"] + info["used_cpu_sys"]) * 1e6,
            bytes=info["total_net_input_bytes"] + info["total_net_output_bytes"],
        )

    def memory(self) -> int:
        """Bytes in use."""
        return int(self.client.info("memory")["used_memory"])

    def facts(self) -> dict[str, str]:
        """Version and durability."""
        info = self.client.info("everything")
        sync = self.client.config_get("appendfsync")["appendfsync"]
        aof = f"AOF {sync}" if info["aof_enabled"] else "no AOF"
        return {"server": f"{info.get('server_name', 'redis')} {info['redis_version']}, {aof}"}


@contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """A Redis on a free port of the loopback."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise BenchmarkError("there is no redis-server on the PATH; install Redis 7 or Valkey 8")
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [word for name, value in SERVER_OPTIONS.items() for word in (f"--{name}", value)]
    process = subprocess.Popen(
        [program, "--port", str(port), "--dir", str(folder), *options], stdout=subprocess.DEVNULL
    )
    server = Server(port)
    try:
        wait_for(lambda: _answers(server.client), "Redis answers", START_SECONDS)
        yield server
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


@contextmanager
def new_database() -> Iterator[str]:
    """Address of an empty database on PostgreSQL, which is removed at the end."""
    from sqlalchemy import create_engine, exc, make_url, text

    name = f"penstock_benchmark_{os.urandom(4).hex()}"
    engine = create_engine(DATABASE, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
            try:
                yield make_url(DATABASE).set(database=name).render_as_string(hide_password=False)
            finally:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    except exc.OperationalError as error:
        raise BenchmarkError(f"no PostgreSQL to measure with; name one in BENCH_DATABASE ({error.orig})") from error
    finally:
        engine.dispose()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def database_facts(url: str) -> str:
    """What the database turned out to be."""
    from sqlalchemy import create_engine, text

    engine = create_engine(url)
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            version, journal = "sqlite_version()", "journal_mode"
            words = [connection.execute(text(f"SELECT {version}")).scalar_one()]
            words += [f"{journal} {connection.execute(text(f'PRAGMA {journal}')).scalar_one()}"]
        else:
            settings = ("server_version", "fsync", "synchronous_commit")
            words = [f"{name} {connection.execute(text(f'SHOW {name}')).scalar_one()}" for name in settings]
    engine.dispose()
    return ", ".join(words)
