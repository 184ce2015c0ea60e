"""What the demo cannot work with is said in one message, before it starts a worker."""

import os
import subprocess
import sys
from pathlib import Path

from tests.embedded.owner import commands_of, variables
from tests.live import ROOT


def refusal(environment: dict[str, str]) -> str:
    """What the demo says when it refuses."""
    done = subprocess.run(
        [sys.executable, "-m", "demo"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "submitting" not in done.stdout
    assert commands_of(environment["PENSTOCK_VAR"]) == []
    return done.stderr


def test_a_port_that_is_no_number_is_refused(tmp_path: Path) -> None:
    assert "FLOWER_PORT: 'abc' is not a whole number" in refusal(variables(tmp_path, FLOWER_PORT="abc"))


def test_an_address_of_another_host_is_refused_for_flower(tmp_path: Path) -> None:
    message = refusal(variables(tmp_path, FLOWER_ADDRESS="192.0.2.1"))
    assert "FLOWER_ADDRESS: nothing can listen on 192.0.2.1" in message


def test_a_folder_that_no_list_can_name_is_refused(tmp_path: Path) -> None:
    assert "because of the comma; set it to another folder" in refusal(variables(tmp_path / "a,b"))


def test_a_missing_browser_is_noticed_before_anything_starts(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = variables(tmp_path, DEMO_PICTURES=str(tmp_path / "pictures")) | {"PATH": str(empty)}
    assert "no Chromium found; install it" in refusal(environment)
    assert not (tmp_path / "var").exists()


def test_pictures_of_an_earlier_run_do_not_count(tmp_path: Path) -> None:
    """Removed before anything can fail, here for a port that is no number."""
    browser, pictures = tmp_path / "bin/chromium", tmp_path / "pictures"
    for path in (browser, pictures / "workers.png", pictures / "notes.txt"):
        path.parent.mkdir(exist_ok=True)
        path.touch(mode=0o755)
    environment = variables(tmp_path, DEMO_PICTURES=str(pictures), FLOWER_PORT="abc")
    refusal(environment | {"PATH": f"{browser.parent}{os.pathsep}{environment['PATH']}"})
    assert [file.name for file in pictures.iterdir()] == ["notes.txt"]
