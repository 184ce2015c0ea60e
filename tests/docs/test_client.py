"""docs/client.md: its examples print what it says."""

import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from penstock import Job
from penstock.client import publishing
from penstock.config import Settings
from tests.live import ROOT, Worker

PAGE = (ROOT / "docs/client.md").read_text()
BLOCKS = re.findall(r"^```python\n# (\S+)\n(.*?)^```$\n*(?:```text\n(.*?)^```$)?", PAGE, re.DOTALL | re.MULTILINE)
LONGEST = 10
PATIENCE = 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The page's files, each of all blocks with its name, and an app for their worker."""
    for name, code, _ in BLOCKS:
        with (tmp_path / name).open("a") as file:
            file.write(code)
    (tmp_path / "shop_workers.py").write_text("import counting\nimport shop\nfrom tests.worker_app import app\n")
    return tmp_path


@pytest.fixture
def variables(environment: dict[str, str], folder: Path) -> dict[str, str]:
    return environment | {"PYTHONPATH": f"{ROOT}:{folder}"}


@pytest.fixture
def worker(variables: dict[str, str], folder: Path) -> Iterator[Worker]:
    with Worker(variables, folder / "worker.log", app="shop_workers", folder=folder, children=1) as started:
        yield started


def run(name: str, variables: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, name], cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown(name: str) -> str:
    (text,) = (text for each, _, text in BLOCKS if each == name)
    assert text
    return str(text)


@pytest.mark.parametrize("name", ["mistake.py", "options.py", "cancel.py"])
def test_what_needs_no_worker_is_told_as_the_page_says(name: str, variables: dict[str, str], folder: Path) -> None:
    assert run(name, variables, folder) == shown(name)


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("name", ["producer.py", "reader.py"])
def test_a_job_gets_and_gives_what_the_page_says(name: str, variables: dict[str, str], folder: Path) -> None:
    assert run(name, variables, folder) == shown(name)


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
def test_a_coroutine_submits_and_waits_as_the_page_says(variables: dict[str, str], folder: Path) -> None:
    assert run("orders_in_a_loop.py", variables, folder) == shown("orders_in_a_loop.py")


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
def test_a_job_that_waits_says_why_as_the_page_says(variables: dict[str, str], folder: Path) -> None:
    assert run("waiting.py", variables, folder) == shown("waiting.py")


def test_each_reason_for_waiting_has_the_test_that_the_page_names() -> None:
    table = PAGE.partition("## Why a job waits")[2].partition("\n## ")[0]
    named = re.findall(r"`(tests/\S+\.py)::(\w+)`", table)
    assert len(named) > 30
    assert [name for file, name in named if f"def {name}(" not in (ROOT / file).read_text()] == []
    reasons = {
        name for line in re.findall(r"^\|.*\| (`[a-z`, -]+`) \|", table, re.M) for name in re.findall("[a-z-]+", line)
    }
    made = set(
        re.findall(
            r'Reason\(\s*"([a-z-]+)"', "".join(path.read_text() for path in (ROOT / "penstock/why").glob("*.py"))
        )
    )
    assert made - reasons == {"just-claimed"}


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
def test_a_stock_producer_sends_the_same(
    variables: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_publisher", publishing.Publisher(Settings.load(variables)))
    sent = run("stock.py", variables, folder).strip()
    assert Decimal(Job[str](sent, "shop.total").result(PATIENCE)) == Decimal("3.10")


def test_every_example_is_short() -> None:
    assert all(len([line for line in code.splitlines() if line]) < LONGEST for _, code, _ in BLOCKS)
