"""The page about what Penstock is not for: its example runs, and prints what the page says."""

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import NewLedger, deployment
from tests.docs.test_readme import ROOMS, copied
from tests.live import ROOT, Worker

PAGE = (ROOT / "docs" / "when-not-to-use.md").read_text()


@pytest.mark.slow
def test_a_body_that_starts_twice_takes_the_money_once(broker_url: str, new_ledger: NewLedger, tmp_path: Path) -> None:
    module, script = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (shown,) = re.findall(r"^```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    project = copied(tmp_path / "project", ROOMS)
    (project / "tasks" / "payments.py").write_text(module)
    (project / "script.py").write_text(script)
    with (project / "tasks" / "__init__.py").open("a") as listing:
        listing.write("from tasks import payments  # noqa\n")
    with new_ledger("sqlite") as ledger:
        variables = deployment(broker_url, ledger, tmp_path) | {"PYTHONPATH": str(project)}
        # One child, so that the second start is in the same process, where the mail server of the example is.
        with Worker(variables, tmp_path / "worker.log", app="workers", folder=project, children=1):
            command = [sys.executable, "script.py"]
            done = subprocess.run(
                command, cwd=project, env=variables, capture_output=True, text=True, check=False, timeout=60
            )
    assert (done.returncode, done.stdout) == (0, shown), done.stderr
    with sqlite3.connect(project / "shop.db") as shop:
        assert shop.execute("SELECT count(*) FROM charges").fetchone() == (1,)
