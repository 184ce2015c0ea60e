"""docs/testing.md: its examples are tests that pass."""

import re
from pathlib import Path

import pytest

from tests.live import ROOT
from tests.testing.project import Run, run

PAGE = (ROOT / "docs/testing.md").read_text()
FILES = {
    **dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)),
    "pytest.ini": "[pytest]\npythonpath = .\n",
}
TESTS = [name for text in FILES.values() for name in re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE)]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The page's files, run as a project."""
    folder: Path = tmp_path_factory.mktemp("page")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return run(folder, folder / "report.xml", "-p", "xdist", "-n", "2")


@pytest.mark.parametrize("name", TESTS)
def test_an_example_passes(page: Run, name: str) -> None:
    assert page.passed(name), page.output
