"""docs/testing.md: its examples are tests that pass."""

import re
from pathlib import Path

import pytest

from penstock.testing import KILL_POINTS
from tests.live import ROOT
from tests.testing.project import Run, run

PAGE = (ROOT / "docs/testing.md").read_text()
FILES = {
    **dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)),
    "pytest.ini": "[pytest]\npythonpath = .\n",
}
TESTS = [name for text in FILES.values() for name in re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE)]


pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The page's files, run as a project."""
    folder: Path = tmp_path_factory.mktemp("page")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    # The shop of tests/testing dies at every step; here two are enough.
    few = [f"test_kills.py::test_an_order_is_taken_once[{step}]" for step in KILL_POINTS[:1] + KILL_POINTS[3:]]
    left_out = [part for name in few for part in ("--deselect", name)]
    return run(folder, folder / "report.xml", "-p", "xdist", "-n", "2", *left_out)


@pytest.mark.parametrize("name", TESTS)
def test_an_example_passes(page: Run, name: str) -> None:
    assert page.passed(name), page.output
