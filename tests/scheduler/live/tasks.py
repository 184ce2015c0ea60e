"""What the schedules here start. Each body says in a file, outside of the system, that it ran."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from penstock import current_job, task

EFFECTS = "EFFECTS"
"""Variable that names the file."""
PATIENCE = 60.0
"""Seconds after which a body that is held gives up: nothing may outlive its test by more."""


def say(**facts: Any) -> None:
    """Appends a line; one write, so that lines of several processes do not mix."""
    descriptor = os.open(os.environ[EFFECTS], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{json.dumps(facts)}\n".encode())
    os.close(descriptor)


@task()
def note(schedule: str, planned: str, previous: str | None = None) -> None:
    """Says for what it was started."""
    job = current_job()
    assert job is not None
    say(job=job.id, schedule=schedule, planned=planned, previous=previous)


@task()
def hold(gate: str) -> None:
    """Runs until there is a file."""
    deadline = time.monotonic() + PATIENCE
    while not Path(gate).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


@task()
def tell(schedule: str, planned: list[str], reason: str) -> None:
    """What is told of fires that were missed."""
