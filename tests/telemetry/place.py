"""A Redis, a worker of an app that is watched, and a producer, each in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery

import penstock
from tests.faults.servers import Server
from tests.live import ROOT, Worker

CELERYS: tuple[str, ...] = ("-P", "processes")
ADOPTED: tuple[str, ...] = ()
EVERY_POOL = [pytest.param(CELERYS, id="Celery's own pool"), pytest.param(ADOPTED, id="the adopted app's pool")]


def variables(server: Server, **more: str) -> dict[str, str]:
    """The environment of these processes."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    results = server.url.removesuffix("/0") + "/1"
    return kept | {"BROKER": server.url, "RESULTS": results, "PYTHONPATH": str(ROOT)} | more


def worker(app: str, environment: dict[str, str], log: Path, *options: str) -> Worker:
    """A worker with one child, still to be entered."""
    return Worker(environment, log, "--without-mingle", "-n", "watched@here", *options, app=app, children=1)


def produced(module: str, environment: dict[str, str]) -> dict[str, str]:
    """Runs the producer to its end; the ids of its jobs by name."""
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 0, done.stderr
    ids: dict[str, str] = json.loads(done.stdout)
    return ids


def names_pool(log: str, options: tuple[str, ...]) -> bool:
    """Whether the worker's banner names the pool that it was to have."""
    with Celery(set_as_current=False) as app:
        wanted = "prefork" if "-P" in options else penstock.adopt(app).conf.worker_pool.partition(":")[0]
    return f"({wanted.rpartition('.')[2]})" in log
