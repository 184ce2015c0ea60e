"""What other applications install: the wheel, built from the checkout and used from a folder of its own."""

import configparser
import email
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import redis

from tests.deployment.compose import ROOT

PRODUCER = """
import json, sys
import penstock

@penstock.task(queue="mail")
def welcome(user_id: int) -> str:
    raise NotImplementedError

job = welcome.enqueue(user_id=7)
print(json.dumps({"id": job.id, "file": penstock.__file__, "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path) -> Path:
    folder = wheel.parent / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_it_ships_the_library_and_nothing_else(unpacked: Path) -> None:
    information = {path.name for path in unpacked.glob("*.dist-info")}
    assert {path.name for path in unpacked.iterdir()} == {"penstock"} | information
    assert len(information) == 1


def test_it_ships_every_file_of_the_library(unpacked: Path) -> None:
    """Types, migrations and scripts as well: a file that is not Python is forgotten easily."""
    shipped = _files(unpacked)
    assert shipped == _files(ROOT)
    assert {"penstock/py.typed", "penstock/ledger/migrations/script.py.mako"} <= shipped


def _files(folder: Path) -> set[str]:
    found = (path for path in (folder / "penstock").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)) for path in found}


def test_the_commands_that_it_announces_are_in_it(unpacked: Path) -> None:
    (announced,) = unpacked.glob("*.dist-info/entry_points.txt")
    entries = configparser.ConfigParser()
    entries.read(announced)
    commands = list(entries["celery.commands"].values())
    assert commands
    for command in commands:
        module, _, name = command.partition(":")
        file = unpacked / f"{module.replace('.', '/')}.py"
        assert f"\ndef {name}(" in file.read_text(), command


def test_the_plugin_that_pytest_finds_is_in_it(unpacked: Path) -> None:
    (announced,) = unpacked.glob("*.dist-info/entry_points.txt")
    entries = configparser.ConfigParser()
    entries.read(announced)
    assert (unpacked / f"{entries['pytest11']['penstock'].replace('.', '/')}.py").is_file()


def test_a_producer_installs_kombu_and_redis_only(unpacked: Path) -> None:
    (metadata,) = unpacked.glob("*.dist-info/METADATA")
    required = email.message_from_string(metadata.read_text()).get_all("Requires-Dist", [])
    assert sorted(line.split("<")[0].split(">")[0] for line in required if "extra ==" not in line) == [
        "kombu[redis]",
        "redis[hiredis]",
    ]


def test_a_producer_works_with_what_is_in_it(unpacked: Path, broker: redis.Redis, broker_url: str) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(unpacked),
        "REDIS_URL": broker_url,
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    }
    done = subprocess.run(
        [sys.executable, "-c", PRODUCER],
        env=environment,
        cwd=unpacked.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert Path(answer["file"]).is_relative_to(unpacked)
    # What the producer's environment would not have.
    assert not {"celery", "sqlalchemy", "alembic", "flower", "urllib3"} & set(answer["modules"])
    (message,) = broker.lrange("mail", 0, -1)
    assert json.loads(message)["headers"]["id"] == answer["id"]
