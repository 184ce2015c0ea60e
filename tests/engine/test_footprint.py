"""What a process takes of the machine, as Linux tells it."""

import os
import subprocess
import sys

import pytest

from penstock.engine.processes import footprint
from tests.live import wait_for

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells this")


def test_a_process_has_memory_of_its_own_and_has_taken_time() -> None:
    found = footprint(os.getpid())
    assert found.proportional_kib is not None
    assert found.cpu_seconds is not None
    assert 1000 < found.proportional_kib <= found.resident_kib
    assert found.cpu_seconds > 0


def test_a_process_that_stands_still_is_seen() -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        process.send_signal(19)
        wait_for(lambda: footprint(process.pid).state == "T", "it stands still")
    finally:
        process.kill()
        process.wait()


def test_a_process_that_is_gone_takes_nothing() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    found = footprint(process.pid)
    assert (found.state, found.resident_kib, found.proportional_kib, found.cpu_seconds) == ("", 0, None, None)
