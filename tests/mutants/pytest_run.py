"""One process of pytest in a copy of the project, and what it says of each test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.reporting import CHOSEN, PATIENCE, REPORT

TEST_SECONDS = 40
"""Bound on one test."""
SERVERS = ("REDIS_URL", "DATABASE_URL", "TESTS_REDIS_URL", "TESTS_DATABASE_URL")
"""Left out: each run brings its own servers along, so that runs beside each other share nothing."""
PLUGINS = ("tests.mutants.reporting", "pytest_timeout", "no:cacheprovider")
"""All that a run needs; to load whatever is installed takes as long as most tests."""


@dataclass(frozen=True)
class Ended:
    """What pytest says of one test; ``when`` is call, or the phase that went wrong."""

    id: str
    when: str
    outcome: str
    kind: str
    message: str


@dataclass(frozen=True)
class Run:
    """What came of a process of pytest; ``code`` is None when it took too long and was killed."""

    code: int | None
    tests: tuple[Ended, ...]
    last_line: str

    def of(self, test: str) -> list[Ended]:
        """The outcomes of one node id; of all its parameters when it names none."""
        return [ended for ended in self.tests if ended.id == test or ended.id.startswith(f"{test}[")]


def run_tests(tree: Path, room: Path, tests: Sequence[str], seconds: float, patience: float | None = None) -> Run:
    """Runs tests of the project at ``tree``.

    Args:
        tree: a copy of the project.
        room: a folder for what the run writes.
        tests: node ids.
        seconds: bound on the run.
        patience: seconds for which a test waits for a condition; the suite's own if None.

    Raises:
        RuntimeError: the tests imported the library from elsewhere, so they say nothing about the copy.
    """
    report, output = room / "report.json", room / "output.txt"
    files = sorted({test.partition("::")[0] for test in tests})
    files = [file for file in files if (tree / file).exists()]  # One that is not there would stop all.
    if not files:
        return Run(0, (), "there is no such file")
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line"]
    command += ["-x"] if patience else ["--continue-on-collection-errors"]
    command += [f"-p{plugin}" for plugin in PLUGINS]
    command += [f"--basetemp={room / 'temp'}", f"--timeout={TEST_SECONDS}", *files]
    # Into a file: a server that outlives its test would hold a pipe open.
    with output.open("wb") as written:
        process = subprocess.Popen(
            command,
            cwd=tree,
            env=_environment(tree, patience) | {REPORT: str(report), CHOSEN: "\n".join(tests)},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code = _wait(process, seconds)
    lines = output.read_text(errors="replace").strip().splitlines()
    found = json.loads(report.read_text()) if report.exists() else {"package": str(tree), "tests": []}
    if not Path(found["package"]).is_relative_to(tree):
        raise RuntimeError(f"the tests ran on {found['package']} and not on the copy at {tree}")
    return Run(code, tuple(Ended(**ended) for ended in found["tests"]), lines[-1] if lines else "no output")


def _environment(tree: Path, patience: float | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in SERVERS and not name.startswith("PYTEST")}
    waiting = {PATIENCE: str(patience)} if patience else {}
    python = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return kept | waiting | python


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        # Workers and servers of a test that broke off are in the group of their pytest; nobody else is.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
