"""README and docs: what they show is what happens, and what they name exists."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.live import ROOT, Worker

PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("*/README.md")),
]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
TEXT = re.findall(r"^```text\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
ROOMS = ("tasks", "schedules", "workers", "celeryconfig.py")


def copied(folder: Path, names: Sequence[str]) -> Path:
    """The folder, with copies of these parts of the project in it."""
    folder.mkdir(exist_ok=True)
    for name in names:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the rooms, in which README's example is followed."""
    copied(tmp_path, ROOMS)
    for block in PYTHON:
        path = block.splitlines()[0].removeprefix("# ")
        if path.endswith(".py"):
            (tmp_path / path).write_text(block)
    for room, module in (("tasks", "greetings"), ("schedules", "greetings")):
        with (tmp_path / room / "__init__.py").open("a") as listing:
            listing.write(f"from {room} import {module}  # noqa\n")
    with (tmp_path / "schedules" / "__init__.py").open("a") as listing:
        listing.write("TIMETABLE = timetable(TIMETABLE, greetings.SCHEDULES)\n")
    return tmp_path


@pytest.mark.slow
def test_the_example_prints_what_readme_says(project: Path, environment: dict[str, str], tmp_path: Path) -> None:
    (producer,) = (block for block in PYTHON if "enqueue(" in block)
    (project / "producer.py").write_text(producer)
    variables = environment | {"PYTHONPATH": str(project)}
    with Worker(variables, tmp_path / "worker.log", app="workers", folder=project):
        command = [sys.executable, "producer.py"]
        done = subprocess.run(
            command, cwd=project, env=variables, capture_output=True, text=True, check=True, timeout=60
        )
    assert done.stdout == next(block for block in TEXT if "Ada" in block)


def test_the_check_accepts_the_examples_schedule(project: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "celery", "-A", "workers", "check"]
    variables = environment | {"PYTHONPATH": str(project)}
    done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_is_named_exists(page: Path) -> None:
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text()):
        assert f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_that_reads_as_a_file_leads_to_that_one(page: Path) -> None:
    for text, target in re.findall(r"\[`([^`\]]+/[^`\]]+\.\w+)`\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (ROOT / text).resolve() == (page.parent / target).resolve(), text


def test_readme_knows_about_how_many_guards_are_removed_in_turn() -> None:
    """To the hundred, or whoever adds one would have to change README."""
    from tests.mutants.table import GUARDS

    (stated,) = re.findall(r"removes more than (\d+) guards", " ".join(README.split()))
    assert int(stated) < len(GUARDS) < int(stated) + 100


def test_the_figures_of_readme_are_those_of_the_last_comparison() -> None:
    data = json.loads((ROOT / "docs" / "comparison.json").read_text())
    ratios = [f"{found['value']:.3g}" for found in data["targets"] if found["what"].startswith("run: times")]
    stated = re.search(
        r"One run of all of them: ([\d.]+) times .* SQL, ([\d.]+) times .* ([\d.]+) times", " ".join(README.split())
    )
    assert stated is not None
    assert set(stated.groups()) <= set(ratios)
    assert f"{len(data['comparison'])} systems" in README


def test_the_fault_table_of_readme_says_what_the_page_says() -> None:
    """Each of its rows stands in docs/faults.md, window, damage of stock and of ours alike."""
    page = (ROOT / "docs" / "faults.md").read_text()
    rows = re.findall(r"^\| (W\d+) \| (.+?) \| (.+?) \| (.+?) \|$", README, re.MULTILINE)
    assert len(rows) >= 10
    for window, _, stock, ours in rows:
        lines = [line for line in page.splitlines() if line.startswith(f"| {window} ")]
        assert any(stock in line and ours in line for line in lines), (window, stock, ours)
