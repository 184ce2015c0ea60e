"""An app whose jobs take long, for `python -m penstock.embedded -A tests.embedded.slow_app`."""

import time
from pathlib import Path

from penstock import Settings, task
from penstock.app import make_app
from penstock.profile import Profile

PROFILES = (Profile(name="main", queues=("default",), children=1),)

app = make_app("slow", settings=Settings.load(), profiles=PROFILES)


@task()
def run_until(finish: str, started: str) -> str:
    """Says that it runs by making one file, and ends when the other one is there."""
    Path(started).touch()
    while not Path(finish).exists():
        time.sleep(0.02)
    return "done"
