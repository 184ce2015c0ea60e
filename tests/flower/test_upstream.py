"""Flower stays Flower: its own tests pass with our application in place of its own, and nothing of ours is in one that
is started without our configuration.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from xml.etree import ElementTree

import flower
import pytest

from tests.flower.live.ground import PASSWORD, Flower
from tests.live import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SDISTS = {"2.2.0": "c4f4751942ff8b5069e6604a136e073b860971b7658859bdc61da1dc17a4bb32"}
"""The SHA-256 of Flower's source distribution, which holds its tests, by version."""
PLUGIN = """
import atexit
import flower.app, flower.command
from penstock.flower.site import Site

made = []

class Ours(Site):
    def __init__(self, *args, **kwargs):
        made.append(1)
        super().__init__(*args, **kwargs)

flower.app.Flower = flower.command.Flower = Ours
atexit.register(lambda: print("applications of ours:", len(made)))
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution of the Flower that is installed."""
    version = flower.__version__
    assert version in SDISTS, f"add the SHA-256 of the sdist of Flower {version}"
    folder = tmp_path_factory.mktemp("sources")
    command = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), f"flower=={version}"]
    done = subprocess.run([sys.executable, "-m", "pip", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot get Flower's sources here: {done.stderr.strip().splitlines()[-1]}")
    (archive,) = folder.glob("*.tar.gz")
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == SDISTS[version]
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    (folder / f"flower-{version}" / "ours.py").write_text(PLUGIN)
    return folder / f"flower-{version}"


def outcomes(sources: Path, *options: str) -> tuple[dict[str, str], str]:
    """How each of Flower's own tests ends, and what was printed."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    quiet = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--rootdir", str(sources), "--junit-xml", "report.xml"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *quiet, *options, "tests/unit"],
        cwd=sources,
        # Flower's tests of its routes that start any task need them switched on.
        env=kept | {"PYTHONPATH": f"{sources}:{ROOT}", "FLOWER_RUN_TASKS": "true"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    report = ElementTree.parse(sources / "report.xml")  # noqa: S314
    found = {
        f"{case.get('classname')}.{case.get('name')}": next((result.tag for result in case), "passed")
        for case in report.iter("testcase")
    }
    return found, done.stdout + done.stderr


def test_flowers_own_tests_pass_with_our_application(sources: Path) -> None:
    stock, _ = outcomes(sources)
    ours, printed = outcomes(sources, "-p", "ours")
    assert len(stock) > 100
    assert {name: outcome for name, outcome in ours.items() if outcome in ("failure", "error")} == {}, printed[-5000:]
    assert ours == stock
    made = re.search(r"applications of ours: (\d+)", printed)
    assert made is not None
    assert int(made[1]) > 100


def test_nothing_of_ours_is_in_a_flower_without_our_configuration(environment: dict[str, str], tmp_path: Path) -> None:
    # Of an app that is ours, in a folder that has no flowerconfig.py.
    access = {"FLOWER_ADDRESS": "127.0.0.1", "FLOWER_BASIC_AUTH": f"ada:{PASSWORD}"}
    stock = Flower(environment | access, tmp_path / "flower.log", folder=tmp_path)
    try:
        page = stock.visitor("ada").get("/workers")
        assert page.status == 200
        assert "X-Frame-Options" not in page.headers
        assert "penstock/static" not in page.text
        assert stock.visitor("ada").get("/history").status == 404
    finally:
        stock.stop()
