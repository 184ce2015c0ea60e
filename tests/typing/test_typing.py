"""An application that uses the client is clean for mypy and pyright, and both see its mistakes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import ROOT

FOLDER = Path(__file__).parent
MYPY = ["mypy", "--strict", str(FOLDER / "calls.py"), str(FOLDER / "mistakes.py"), str(FOLDER / "kit.py")]
# The wheels bring pyright and its node along; it asks no server for newer ones.
PYRIGHT = ["pyright", "--project", str(FOLDER), "--pythonpath", sys.executable]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", [MYPY, PYRIGHT], ids=["mypy", "pyright"])
def test_a_type_checker_sees_what_is_right_and_every_mistake(command: list[str]) -> None:
    environment = os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "MYPYPATH": str(FOLDER)}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
