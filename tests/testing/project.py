"""Runs the tests of a project that uses the kit, in a pytest of its own whose plugin is loaded as users have it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from tests.live import ROOT

EXAMPLE = Path(__file__).parent / "example"
PATIENCE = 280


@dataclass(frozen=True)
class Outcome:
    """What became of one test."""

    passed: bool
    message: str


@dataclass(frozen=True)
class Run:
    """What became of a run."""

    output: str
    outcomes: dict[str, Outcome]
    """By the names of tests, with their parameters."""

    def passed(self, name: str) -> bool:
        """Whether a test ran and passed, with all its parameters."""
        of_it = [outcome for full, outcome in self.outcomes.items() if full.partition("[")[0] == name]
        return bool(of_it) and all(outcome.passed for outcome in of_it)


def environment(**variables: str) -> dict[str, str]:
    """As a developer's shell, without servers that anybody names."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT)} | variables


def command(*arguments: str) -> list[str]:
    """Pytest, into which an installed Penstock brings its plugin along; without those that only take time to import."""
    plugins = ("no:valkey", "no:cacheprovider", "no:randomly", "no:hypothesispytest", "no:anyio", "no:rerunfailures")
    return [sys.executable, "-m", "pytest", *(part for name in plugins for part in ("-p", name)), *arguments]


def run(folder: Path, report: Path, *arguments: str, **variables: str) -> Run:
    """Runs tests in a folder; ``report`` is written there."""
    done = subprocess.run(
        command(f"--junitxml={report}", "--tb=short", *arguments),
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert report.exists(), done.stdout + done.stderr
    cases = ElementTree.parse(report).getroot().iter("testcase")  # noqa: S314  written by pytest just now
    outcomes = {}
    for case in cases:
        wrong = [part for part in case if part.tag in ("failure", "error", "skipped")]
        text = "\n".join(f"{part.get('message')}\n{part.text}" for part in wrong)
        outcomes[str(case.get("name"))] = Outcome(not wrong, text)
    return Run(done.stdout + done.stderr, outcomes)


def names_in(path: Path) -> list[str]:
    """Of the tests in a file."""
    return re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
