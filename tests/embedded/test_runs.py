"""One run at a time in a folder, and what the next one does about one that was killed."""

import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from penstock.config import Settings
from penstock.embedded import marked, prepared_system
from penstock.errors import EmbeddedServerError
from tests.embedded.owner import COMMAND, Owner, commands_of, processes_of, variables
from tests.live import wait_for

SLEEP = ("--", sys.executable, "-c", "import time; print('sleeping', flush=True); time.sleep(600)")
DEFY = ("--", "sh", "-c", "trap '' TERM; echo sleeping; while true; do sleep 0.1; done")


def sleeping(environment: dict[str, str], folder: Path, command: tuple[str, ...] = SLEEP) -> Owner:
    """A system with one client that does nothing for long."""
    owner = Owner(environment, folder / "owner.log", *command)
    owner.wait_until_printed("sleeping")
    return owner


def test_a_second_start_is_refused_and_says_who_runs(tmp_path: Path) -> None:
    environment = variables(tmp_path)
    with sleeping(environment, tmp_path) as first:
        with pytest.raises(EmbeddedServerError) as refused, prepared_system(environment):
            pass
        message = str(refused.value)
        assert f"a system already runs in {tmp_path / 'var'} (process {first.pid}, since" in message
        assert "use that one, stop it, or set PENSTOCK_VAR" in message
        with redis.Redis.from_url(Settings.load(environment).redis_url) as connection:
            assert connection.ping()


def test_a_second_start_in_the_same_process_is_refused_as_well(tmp_path: Path) -> None:
    environment = variables(tmp_path)
    with prepared_system(environment):
        with pytest.raises(EmbeddedServerError, match="already runs"), prepared_system(environment):
            pass
        assert Settings.load(environment).redis_url


def test_of_two_that_start_at_once_one_runs(tmp_path: Path) -> None:
    environment, go = variables(tmp_path), tmp_path / "go"
    wait = ("--", "sh", "-c", f"while [ ! -e {go} ]; do sleep 0.05; done")
    with ExitStack() as stack:
        owners = [stack.enter_context(Owner(environment, tmp_path / f"{n}.log", *wait)) for n in range(2)]
        wait_for(lambda: any(owner.has_ended() for owner in owners), "one is refused")
        go.touch()
        assert sorted(owner.wait_for_end() for owner in owners) == [0, 1]


def test_two_folders_have_a_system_each(tmp_path: Path) -> None:
    one, two = variables(tmp_path / "one"), variables(tmp_path / "two")
    with prepared_system(one) as first, prepared_system(two) as second:
        assert first.settings.redis_url != second.settings.redis_url


@pytest.mark.parametrize("command", [SLEEP, DEFY], ids=["one that ends when asked", "one that does not"])
def test_after_a_kill_the_next_start_ends_the_leftovers_and_keeps_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(marked, "PATIENCE", 0.5)
    environment = variables(tmp_path)
    with sleeping(environment, tmp_path, command) as owner:
        with redis.Redis.from_url(Settings.load(environment).redis_url) as connection:
            connection.lpush("default", "waiting")
        owner.send(signal.SIGKILL)
        owner.wait_for_end()
        leftovers = processes_of(tmp_path / "var")
        assert len(leftovers) >= 2, "the server and its client live on"
        with prepared_system(environment) as system, redis.Redis.from_url(system.settings.redis_url) as connection:
            assert not set(leftovers) & set(processes_of(tmp_path / "var"))
            assert connection.lrange("default", 0, -1) == [b"waiting"]
            assert Settings.load(environment).redis_url == system.settings.redis_url


def test_leftovers_may_finish_what_they_do(tmp_path: Path) -> None:
    """As a worker lets its children finish, which themselves would end at once if they were asked."""
    done = tmp_path / "done"
    work = f"trap 'wait; exit' TERM; (echo sleeping; sleep 1; touch {done}) & wait"
    environment = variables(tmp_path)
    with sleeping(environment, tmp_path, ("--", "sh", "-c", work)) as owner:
        owner.send(signal.SIGKILL)
        owner.wait_for_end()
        with prepared_system(environment):
            assert done.exists()


def test_a_start_from_a_leftover_does_not_end_that(tmp_path: Path) -> None:
    """A shell that was run beside a system which was killed, for instance."""
    environment = variables(tmp_path)
    again = f"unset REDIS_URL; {' '.join(COMMAND)} -- echo started again"
    shell = f"echo sleeping; while kill -0 $PPID; do sleep 0.05; done 2>/dev/null; {again}; echo and survived"
    with sleeping(environment, tmp_path, ("--", "sh", "-c", shell)) as owner:
        owner.send(signal.SIGKILL)
        owner.wait_for_end()
        wait_for(lambda: "started again\nand survived" in owner.output, "the shell goes on")


def test_the_leftovers_of_another_folder_are_left_alone(tmp_path: Path) -> None:
    environment = variables(tmp_path)
    with prepared_system(variables(tmp_path / "other")) as other, sleeping(environment, tmp_path) as owner:
        client = subprocess.Popen(["sleep", "600"], env=other.environment)
        owner.send(signal.SIGKILL)
        owner.wait_for_end()
        with prepared_system(environment), redis.Redis.from_url(other.settings.redis_url) as connection:
            assert connection.ping()
            assert client.poll() is None
        client.kill()
        client.wait()


def test_a_start_in_a_copied_folder_ends_nothing_of_the_original(tmp_path: Path) -> None:
    environment = variables(tmp_path)
    with sleeping(environment, tmp_path) as owner:
        owner.send(signal.SIGKILL)
        owner.wait_for_end()
        before = commands_of(tmp_path / "var")
        shutil.copytree(tmp_path / "var", tmp_path / "copy")
        with prepared_system(environment | {"PENSTOCK_VAR": str(tmp_path / "copy")}):
            assert commands_of(tmp_path / "var") == before


def test_a_moved_folder_still_knows_its_leftovers(tmp_path: Path) -> None:
    """Two servers on one file would destroy it."""
    environment = variables(tmp_path)
    with sleeping(environment, tmp_path) as owner:
        owner.send(signal.SIGKILL)
        owner.wait_for_end()
        (tmp_path / "var").rename(tmp_path / "moved")
        with prepared_system(environment | {"PENSTOCK_VAR": str(tmp_path / "moved")}):
            assert not commands_of(tmp_path / "var")


def test_what_a_command_leaves_running_ends_with_its_system(tmp_path: Path) -> None:
    leave_one = ("--", "sh", "-c", "nohup sleep 600 >/dev/null 2>&1 & echo left")
    with Owner(variables(tmp_path), tmp_path / "owner.log", *leave_one) as owner:
        assert owner.wait_for_end() == 0
        assert "left\n" in owner.output
        assert not commands_of(tmp_path / "var")


def test_sigterm_ends_the_command_and_the_server(tmp_path: Path) -> None:
    with sleeping(variables(tmp_path), tmp_path) as owner:
        owner.send(signal.SIGTERM)
        assert owner.wait_for_end() == 128 + signal.SIGTERM
        wait_for(lambda: not commands_of(tmp_path / "var"), "nothing is left")
        assert not (tmp_path / "var/embedded.json").exists()
