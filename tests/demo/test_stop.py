"""A demo that is told to stop takes its whole system with it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.embedded.owner import commands_of, processes_of, variables
from tests.live import ROOT, wait_for

pytestmark = pytest.mark.timeout(120)


def test_a_worker_that_ends_while_the_demo_starts_takes_it_all_down(tmp_path: Path) -> None:
    environment = variables(tmp_path)
    log = tmp_path / "log"
    with demo_in(environment, log) as demo:
        worker = wait_for(lambda: workers_of(environment), "a worker is there", 60)[0]
        worker.kill()
        assert demo.wait(60) == 1, log.read_text()
        assert "was ended by SIGKILL; its output is in" in log.read_text()
        assert commands_of(environment["PENSTOCK_VAR"]) == []


@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGHUP, "making a sales database"), (signal.SIGTERM, "submitting")],
    ids=["while it starts", "while its workers run"],
)
def test_a_demo_that_is_told_to_stop_leaves_nothing_running(
    tmp_path: Path, number: signal.Signals, moment: str
) -> None:
    environment = variables(tmp_path)
    log = tmp_path / "log"
    with demo_in(environment, log) as demo:
        wait_for(lambda: moment in log.read_text() or demo.poll() is not None, f"{moment!r} is printed", 60)
        assert len(processes_of(environment["PENSTOCK_VAR"])) > 1, log.read_text()
        demo.send_signal(number)
        assert demo.wait(60) == 128 + number, log.read_text()
        assert commands_of(environment["PENSTOCK_VAR"]) == []


@contextmanager
def demo_in(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running demo; what it leaves behind is killed."""
    with log.open("wb") as output:
        demo = subprocess.Popen(
            [sys.executable, "-m", "demo"], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield demo
    finally:
        for process in processes_of(environment["PENSTOCK_VAR"]):
            process.kill()
        demo.wait()


def workers_of(environment: dict[str, str]) -> list[psutil.Process]:
    return [process for process in processes_of(environment["PENSTOCK_VAR"]) if "worker" in process.cmdline()]
