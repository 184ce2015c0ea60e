"""docs/client.md, "Trying again": its example prints what it says."""

from pathlib import Path

import pytest

from tests.docs.test_client import BLOCKS, run, shown
from tests.live import ROOT, Worker


@pytest.mark.slow
def test_a_body_decides_as_the_page_says(environment: dict[str, str], tmp_path: Path) -> None:
    for name, code, _ in BLOCKS:
        with (tmp_path / name).open("a") as file:
            file.write(code)
    (tmp_path / "orders_workers.py").write_text("import orders\nfrom tests.worker_app import app\n")
    variables = environment | {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    with Worker(variables, tmp_path / "worker.log", app="orders_workers", folder=tmp_path, children=1):
        assert run("shipping.py", variables, tmp_path) == shown("shipping.py")
