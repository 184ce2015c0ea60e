"""`python -m penstock.embedded`: the whole system with real processes, and a command beside its servers."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import psutil
import pytest
import redis

from penstock.client import publishing
from penstock.config import Settings
from penstock.embedded.__main__ import main
from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.session import reading
from tests.embedded.owner import Owner, commands_of, processes_of, variables
from tests.live import ROOT, wait_for

APP = "tests.embedded.slow_app"
SUBMIT = """
import sys
from tests.embedded.slow_app import run_until
print(run_until.enqueue(*sys.argv[1:]).id)
"""
PRINT_SERVERS = "import json, os; print(json.dumps([os.environ['REDIS_URL'], os.environ['DATABASE_URL']]))"
ELSEWHERE = """
from penstock import Settings
from penstock.app import make_app
from penstock.profile import Profile
bare = make_app("bare", settings=Settings.load())
app = make_app("app", settings=Settings.load(), profiles=[Profile(name="main", queues=("default",), children=1)])
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A deployment that names no servers, with a port of its own for Flower."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return variables(tmp_path, FLOWER_PORT=str(free.getsockname()[1]), REMAP_SIGTERM="SIGQUIT")


@pytest.fixture
def system(environment: dict[str, str], tmp_path: Path) -> Iterator[Owner]:
    """A running system of ``slow_app``."""
    with Owner(environment, tmp_path / "owner.log", "-A", APP) as owner:
        owner.wait_until_printed("Flower is at")
        owner.wait_until_printed(" ready.")
        yield owner


@dataclass(frozen=True)
class RunningJob:
    """A job of ``slow_app`` that runs until it is told to finish."""

    id: str
    environment: dict[str, str]
    finish: Path
    started: Path

    @property
    def state(self) -> State | None:
        """As the ledger has it; None while it has not run for long enough to be told of."""
        with reading(f"sqlite:///{self.environment['PENSTOCK_VAR']}/ledger.db") as connection:
            row = queries.find_job(connection, self.id)
        return row.state if row else None


@pytest.fixture
def job(system: Owner, environment: dict[str, str], tmp_path: Path) -> RunningJob:
    """A job that is running in that system."""
    finish, started = tmp_path / "finish", tmp_path / "started"
    command = [sys.executable, "-c", SUBMIT, str(finish), str(started)]
    submitted = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    wait_for(started.exists, "the job runs")
    return RunningJob(submitted.stdout.strip(), environment, finish, started)


@pytest.mark.slow
def test_ctrl_c_lets_a_running_job_finish_and_leaves_nothing(system: Owner, job: RunningJob, tmp_path: Path) -> None:
    running = " ".join(commands_of(tmp_path / "var"))
    assert all(word in running for word in ("worker", "beat", "flower", "valkey-server")), running
    system.press_ctrl_c()
    system.wait_until_printed("Warm shutdown")
    job.finish.touch()
    assert system.wait_for_end() == 0, system.output
    assert job.state is State.SUCCEEDED
    assert not commands_of(tmp_path / "var")
    assert not (tmp_path / "var/embedded.json").exists()


@pytest.mark.slow
def test_a_second_ctrl_c_puts_a_running_job_back(system: Owner, job: RunningJob, tmp_path: Path) -> None:
    system.press_ctrl_c()
    system.wait_until_printed("Warm shutdown")
    system.press_ctrl_c()
    assert system.wait_for_end() == 0, system.output
    assert job.state is not State.SUCCEEDED
    assert not commands_of(tmp_path / "var")
    with Owner(job.environment, tmp_path / "second.log", "--", "sleep", "600") as again:
        again.wait_until_printed("embedded Valkey on")
        with redis.Redis.from_url(Settings.load(job.environment).redis_url) as connection:
            waiting = [json.loads(message)["headers"]["id"] for message in connection.lrange("default", 0, -1)]
    assert waiting == [job.id]


@pytest.mark.slow
def test_after_a_kill_in_the_middle_of_a_job_the_next_start_runs_it_again(
    system: Owner, job: RunningJob, tmp_path: Path
) -> None:
    system.send(signal.SIGKILL)
    system.wait_for_end()
    leftovers = processes_of(tmp_path / "var")
    assert {"worker", "beat", "flower"} < {word for process in leftovers for word in process.cmdline()}
    job.started.unlink()
    worker = ("--", sys.executable, "-m", "celery", "-A", APP, "worker", "--concurrency=1")
    with Owner(job.environment, tmp_path / "second.log", *worker):
        wait_for(job.started.exists, "the job runs again", 30)
        assert not set(leftovers) & set(processes_of(tmp_path / "var"))
        job.finish.touch()
        wait_for(lambda: job.state is State.SUCCEEDED, "it succeeds")


@pytest.mark.slow
def test_the_end_of_the_embedded_server_stops_everything(system: Owner, tmp_path: Path) -> None:
    (server,) = [p for p in psutil.Process(system.pid).children() if "valkey-server" in p.name()]
    server.kill()
    assert system.wait_for_end() == 1
    assert "the embedded Valkey has ended" in system.output
    assert not commands_of(tmp_path / "var")


@dataclass(frozen=True)
class Done:
    """How the command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def embedded(environment: dict[str, str], capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs the command in this process, with changes to the environment."""

    def run(*arguments: str, **changes: str) -> Done:
        with mock.patch.dict(os.environ, environment | changes):
            code = main(arguments)
        assert not commands_of(changes.get("PENSTOCK_VAR", environment["PENSTOCK_VAR"])), "something still runs"
        return Done(code, *capfd.readouterr())

    return run


def test_a_command_gets_the_servers_and_its_exit_code_is_returned(
    embedded: Callable[..., Done], tmp_path: Path
) -> None:
    done = embedded("--", sys.executable, "-c", f"{PRINT_SERVERS}; raise SystemExit(3)")
    redis_url, database_url = json.loads(done.out)
    assert done.code == 3
    assert redis_url.startswith("redis://penstock:")
    assert database_url == f"sqlite:///{tmp_path / 'var/ledger.db'}"


def test_a_command_that_is_killed_gives_the_exit_code_of_a_shell(embedded: Callable[..., Done]) -> None:
    assert embedded("--", "sh", "-c", "kill -KILL $$").code == 128 + signal.SIGKILL


def test_what_is_embedded_is_said_in_one_line(embedded: Callable[..., Done], tmp_path: Path) -> None:
    said = embedded("--", "true").err
    assert re.fullmatch(
        r"penstock: embedded Valkey on 127\.0\.0\.1:\d+ and SQLite in \S+/var "
        r"\(set REDIS_URL and DATABASE_URL to replace them\)\n",
        said,
    )


def test_named_servers_replace_the_embedded_ones_one_by_one(
    embedded: Callable[..., Done], broker_url: str, tmp_path: Path
) -> None:
    ledger = f"sqlite:///{tmp_path}/elsewhere.db"
    broker_named = embedded("--", sys.executable, "-c", PRINT_SERVERS, REDIS_URL=broker_url)
    assert broker_named.err == f"penstock: SQLite in {tmp_path}/var (set DATABASE_URL to replace it)\n"
    assert json.loads(broker_named.out)[0] == broker_url
    assert not (tmp_path / "var/valkey").exists()
    both_named = embedded("--", sys.executable, "-c", PRINT_SERVERS, REDIS_URL=broker_url, DATABASE_URL=ledger)
    assert (json.loads(both_named.out), both_named.err) == ([broker_url, ledger], "")


def test_a_command_that_does_not_exist_is_named(embedded: Callable[..., Done]) -> None:
    done = embedded("--", "no-such-program")
    assert (done.code, "penstock: no-such-program: No such file or directory\n" in done.err) == (127, True)


def test_a_dash_dash_without_a_command_is_a_usage_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--"])
    assert "give a command after --" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"REDIS_URL": "redis://:hush@127.0.0.1:1/0"}, (), "does not answer .*; start it or correct REDIS_URL"),
        (
            {"DATABASE_URL": "postgresql://user:hush@127.0.0.1:1/ledger"},
            (),
            "does not answer .*; start it or correct DATABASE_URL",
        ),
        ({"PENSTOCK_DRAIN": "3"}, (), "no such setting; did you mean PENSTOCK_DRAIN_SECONDS?"),
        ({"PENSTOCK_VAR": str(ROOT / "LICENSE")}, (), "PENSTOCK_VAR: .* is a file; name a folder"),
        ({"PENSTOCK_VAR": str(ROOT / "LICENSE/var")}, (), "cannot be used .*; make it writable or set PENSTOCK_VAR"),
        ({}, ("-A", "nowhere"), "the app 'nowhere' cannot be loaded .* name the app with -A"),
    ],
)
def test_bad_input_is_one_message_and_nothing_runs(
    embedded: Callable[..., Done], changes: dict[str, str], arguments: tuple[str, ...], message: str
) -> None:
    done = embedded(*arguments, **changes)
    (complaint,) = re.findall(r"^penstock: (?!embedded|SQLite)(?:.|\n)*", done.err, re.MULTILINE)
    assert done.code == 1
    assert re.search(message, complaint), complaint
    assert "hush" not in done.err


def test_a_broken_setting_of_the_tasks_is_one_message(environment: dict[str, str], tmp_path: Path) -> None:
    with Owner(environment | {"TASKS_EGRESS_ALLOW": "anywhere"}, tmp_path / "owner.log") as owner:
        assert owner.wait_for_end() == 1
        assert "TASKS_EGRESS_ALLOW: " in owner.output
        assert "Traceback" not in owner.output


def test_a_taken_port_of_flower_is_one_message(environment: dict[str, str], tmp_path: Path) -> None:
    port = environment["FLOWER_PORT"]
    with (
        socket.create_server(("127.0.0.1", int(port))),
        Owner(environment, tmp_path / "owner.log", "-A", APP) as owner,
    ):
        assert owner.wait_for_end() == 1
        assert f"FLOWER_PORT: port {port} of 127.0.0.1 cannot be used" in owner.output
        assert "Traceback" not in owner.output
        assert not commands_of(tmp_path / "var")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another project's folder is the current one."""
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(publishing, "_publisher", None)  # which the apps there take


@pytest.mark.usefixtures("elsewhere")
def test_a_folder_without_flowers_configuration_is_refused(embedded: Callable[..., Done]) -> None:
    """Flower would be open to the whole network, without a password."""
    done = embedded("-A", "elsewhere:app")
    assert (done.code, "write a flowerconfig.py here" in done.err) == (1, True)


@pytest.mark.usefixtures("elsewhere")
def test_an_app_without_profiles_is_refused(embedded: Callable[..., Done]) -> None:
    done = embedded("-A", "elsewhere:bare")
    assert (done.code, "the app 'elsewhere:bare' has no profiles" in done.err) == (1, True)
