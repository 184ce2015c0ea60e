"""Which processes make up a system, and how each is started."""

from pathlib import Path

import pytest

from penstock.config import Settings
from penstock.embedded import system_processes
from penstock.profile import Profile

SETTINGS = Settings.load({"REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": "sqlite:///unused"})
PROFILES = (
    Profile(name="io", queues=("web",), children=4),
    Profile(name="mixed", queues=("web", "default"), children=1, by_hand=True),
)


def test_each_profile_is_a_worker_but_those_that_are_started_by_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "flowerconfig.py").write_text("address, port = '127.0.0.1', 5555")
    monkeypatch.chdir(tmp_path)
    commands = {process.name: process.command for process in system_processes("workers", PROFILES, SETTINGS)}
    assert list(commands) == ["worker-io", "beat", "flower"]
    assert {"worker", "--profile=io"} < set(commands["worker-io"])
