"""Which processes make up a system, and how each is started."""

from pathlib import Path

import pytest

from penstock.config import Settings
from penstock.embedded import system_processes
from penstock.profile import Profile
from tests.conftest import deployment

PROFILES = (
    Profile(name="io", queues=("web",), children=4),
    Profile(name="mixed", queues=("web", "default"), children=1, by_hand=True),
)


def test_each_profile_is_a_worker_but_those_that_are_started_by_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Flower's own configuration reads the environment.
    for name, value in deployment("redis://127.0.0.1:1/0", "sqlite:///unused", tmp_path).items():
        monkeypatch.setenv(name, value)
    commands = {process.name: process.command for process in system_processes("workers", PROFILES, Settings.load())}
    assert list(commands) == ["worker-io", "beat", "flower"]
    assert {"worker", "--profile=io"} < set(commands["worker-io"])
