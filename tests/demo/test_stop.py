"""A demo that is told to stop takes its whole system with it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.embedded.owner import commands_of, processes_of, variables
from tests.live import ROOT, wait_for

pytestmark = pytest.mark.timeout(120)


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
    with log.open("wb") as output:
        demo = subprocess.Popen(
            [sys.executable, "-m", "demo"], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_for(lambda: moment in log.read_text() or demo.poll() is not None, f"{moment!r} is printed", 60)
        assert len(processes_of(environment["PENSTOCK_VAR"])) > 1, log.read_text()
        demo.send_signal(number)
        assert demo.wait(60) == 128 + number, log.read_text()
        assert commands_of(environment["PENSTOCK_VAR"]) == []
    finally:
        for process in processes_of(environment["PENSTOCK_VAR"]):
            process.kill()
        demo.wait()
