"""Several processes as one: their output, their end, and that nothing of them is left."""

import io
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import penstock.embedded.process
from penstock.embedded import Process, Supervisor
from penstock.embedded.process import Service
from penstock.errors import SettingsError
from tests.live import ROOT, wait_for

MARK = "SUPERVISED_BY_TEST"


def shell(name: str, script: str, patience: float = 5.0) -> Process:
    return Process(name, ("sh", "-c", script), patience)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """By whose last variable a process is known as started by this test."""
    return {"PATH": os.environ["PATH"], MARK: str(tmp_path)}


def alive(environment: dict[str, str]) -> list[str]:
    """The commands of what lives of this test."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == environment[MARK] and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return found


def run(processes: list[Process], environment: dict[str, str]) -> tuple[int, str]:
    """Exit code and output."""
    output = io.StringIO()
    return Supervisor(processes, environment, output=output).run(), output.getvalue()


def signal_after(condition: Path, *numbers: signal.Signals) -> None:
    """Sends signals to this process, as a terminal would, once a file is there."""

    def send() -> None:
        wait_for(condition.exists, f"{condition} is there")
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.3)

    threading.Thread(target=send, daemon=True).start()


def test_each_line_is_labelled_and_whole(environment: dict[str, str]) -> None:
    slowly = "for i in 1 2 3; do printf 'one '; sleep 0.05; echo two; done; sleep 0.3"
    _, output = run([shell("a", slowly), shell("worker-b", slowly)], environment)
    assert (
        sorted(line for line in output.splitlines() if "two" in line)
        == ["a        | one two"] * 3 + ["worker-b | one two"] * 3
    )


def test_errors_and_a_last_line_without_end_are_shown(environment: dict[str, str]) -> None:
    _, output = run([shell("a", "echo wrong >&2; printf unfinished")], environment)
    assert "a        | wrong\n" in output
    assert "a        | unfinished\n" in output


def test_one_that_ends_stops_the_others_and_is_named(environment: dict[str, str]) -> None:
    code, output = run([shell("a", "sleep 600"), shell("b", "exit 3")], environment)
    assert code == 1
    assert "penstock | b ended with exit code 3; stopping the others\n" in output
    assert not alive(environment)


def test_an_end_without_an_error_stops_the_others_as_well(environment: dict[str, str]) -> None:
    code, output = run([shell("a", "sleep 600"), shell("b", "exit 0")], environment)
    assert (code, "b ended with exit code 0" in output) == (1, True)


def test_one_that_is_killed_is_named_with_the_signal(environment: dict[str, str]) -> None:
    _, output = run([shell("a", "kill -KILL $$")], environment)
    assert "a was ended by SIGKILL; stopping the others" in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_stop_lets_them_finish(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    started = tmp_path / "started"
    signal_after(started, number)
    finish = f"trap 'sleep 0.5; echo finished; exit' TERM; touch {started}; while true; do sleep 0.05; done"
    code, output = run([shell("a", finish)], environment)
    assert (code, "finished" in output) == (0, True)


def test_only_the_leader_is_asked(environment: dict[str, str], tmp_path: Path) -> None:
    """A worker's children would drop their jobs."""
    started = tmp_path / "started"
    signal_after(started, signal.SIGINT)
    child = "trap 'echo hit' TERM INT; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.05; done; echo untouched"
    code, output = run(
        [shell("a", f"trap '' INT; ({child}) & trap 'wait; exit' TERM; touch {started}; wait")], environment
    )
    assert (code, "untouched" in output, "hit" in output) == (0, True, False)


def test_a_second_request_hurries_them(environment: dict[str, str], tmp_path: Path) -> None:
    started = tmp_path / "started"
    signal_after(started, signal.SIGINT, signal.SIGINT)
    dawdle = f"trap '' TERM; trap 'echo hurried; exit' QUIT; touch {started}; while true; do sleep 0.05; done"
    code, output = run([shell("a", dawdle, patience=60)], environment)
    assert (code, "hurried" in output) == (0, True)


def test_patience_ends(environment: dict[str, str], tmp_path: Path) -> None:
    started = tmp_path / "started"
    signal_after(started, signal.SIGINT)
    dawdle = f"trap '' TERM; trap 'echo out of time; exit' QUIT; touch {started}; while true; do sleep 0.05; done"
    code, output = run([shell("a", dawdle, patience=0.3)], environment)
    assert (code, "out of time" in output) == (0, True)


def test_one_that_never_ends_is_killed_with_all_its_children(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(penstock.embedded.process, "QUIT_SECONDS", 0.3)
    started = tmp_path / "started"
    signal_after(started, signal.SIGINT)
    defy = f"trap '' TERM QUIT; sleep 600 & touch {started}; while true; do sleep 0.05; done"
    code, output = run([shell("a", defy, patience=0.3)], environment)
    assert (code, "had to be killed: a" in output) == (1, True)
    assert not alive(environment)


def test_children_of_one_that_ended_are_ended(environment: dict[str, str]) -> None:
    run([shell("a", "sleep 600 & sleep 600 & exit 1")], environment)
    assert not alive(environment)


def test_ctrl_c_in_the_terminal_reaches_none_of_them(environment: dict[str, str]) -> None:
    with Supervisor([shell("a", "sleep 600")], environment, output=io.StringIO()):

        def started() -> list[psutil.Process]:
            return [p for p in psutil.Process().children() if "600" in " ".join(p.cmdline())]

        (child,) = wait_for(started, "the process has become what it was started for")
        assert os.getsid(child.pid) == child.pid


def test_a_program_can_start_and_stop_them(environment: dict[str, str]) -> None:
    output = io.StringIO()
    with Supervisor([shell("a", "echo up; sleep 600")], environment, output=output) as supervisor:
        wait_for(lambda: "up" in output.getvalue(), "it runs")
        assert supervisor.trouble() is None
    assert not alive(environment)


def test_a_program_learns_of_an_end(environment: dict[str, str]) -> None:
    with Supervisor([shell("a", "exit 7")], environment, output=io.StringIO()) as supervisor:
        assert wait_for(supervisor.trouble, "the end is noticed") == "a ended with exit code 7"


def test_trouble_elsewhere_stops_them(environment: dict[str, str]) -> None:
    output = io.StringIO()
    code = Supervisor(
        [shell("a", "sleep 600")], environment, output=output, trouble=lambda: "the server has ended"
    ).run()
    assert (code, "the server has ended; stopping the others" in output.getvalue()) == (1, True)
    assert not alive(environment)


def test_a_command_that_cannot_run_leaves_none_running(environment: dict[str, str]) -> None:
    processes = [shell("a", "sleep 600"), Process("b", ("/nowhere/program",))]
    with pytest.raises(FileNotFoundError), Supervisor(processes, environment, output=io.StringIO()):
        pass
    assert not alive(environment)


def test_a_taken_port_lets_nothing_start(environment: dict[str, str], tmp_path: Path) -> None:
    started = tmp_path / "started"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = Service("127.0.0.1", taken.getsockname()[1], "FLOWER_PORT", "up")
        processes = [shell("a", f"touch {started}"), Process("b", ("sleep", "600"), service=service)]
        with pytest.raises(SettingsError, match=r"FLOWER_PORT: port \d+ of 127.0.0.1 cannot be used .* free it"):
            run(processes, environment)
    assert not started.exists()


def test_a_service_is_greeted_when_it_is_up(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve = (
        "import socket, time; time.sleep(0.3); print('serving', flush=True);"
        f"server = socket.create_server(('127.0.0.1', {port})); server.accept(); time.sleep(0.3)"
    )
    service = Service("127.0.0.1", port, "PORT", "it is up")
    _, output = run([Process("a", (sys.executable, "-c", serve), service=service)], environment)
    assert re.search(r"serving(.|\n)*penstock \| it is up\n", output)


def test_colours_are_for_terminals_only(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def shown() -> str:
        reader, writer = pty.openpty()
        with os.fdopen(writer, "w") as terminal:
            Supervisor([shell("a", "echo text")], environment, output=terminal).run()
            text = os.read(reader, 4096).decode()
        os.close(reader)
        return text

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[33ma        |\x1b[0m text" in shown()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shown()
    assert "\x1b" not in run([shell("a", "echo text")], environment)[1]


def test_they_stop_when_nobody_reads_any_more(environment: dict[str, str]) -> None:
    script = (
        "import os, sys; from penstock.embedded import Process, Supervisor;"
        "talk = ('sh', '-c', 'while true; do echo text; sleep 0.05; done');"
        "sys.exit(Supervisor([Process('a', talk)], dict(os.environ)).run())"
    )
    command = f"{sys.executable} -c {script!r} | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, env=environment, timeout=30, check=False
    )
    assert done.returncode in (0, 120), "120: Python could not flush its standard output"
    assert not alive(environment)


def test_a_line_without_end_is_cut(environment: dict[str, str]) -> None:
    _, output = run([shell("a", "head -c 200000 /dev/zero | tr '\\0' x")], environment)
    assert [len(line) for line in output.splitlines() if "xx" in line] == [65536 + 11] * 3 + [200000 - 3 * 65536 + 11]
