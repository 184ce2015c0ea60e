"""A worker of stock Celery in an application of its own, in which nothing of ours can be imported."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

APP = """
import json
import os
import sys
import time

from celery import Celery

app = Celery("stock", broker=os.environ["REDIS_URL"])
app.conf.task_default_queue = "default"


def write(task, *values):
    with open(os.environ["EFFECTS"], "a") as effects:
        effects.write(json.dumps([task.request.id, task.name, *values]) + "\\n")


@app.task(name="tests.jobs.add", bind=True)
def add(self, left, right):
    write(self, left + right)


@app.task(name="tests.jobs.sleep", bind=True)
def sleep(self, seconds, started=None):
    write(self, seconds)


@app.task(name="late.task", bind=True)
def late(self, value):
    write(self, value)
"""
COMMAND = "import sys; sys.modules['penstock'] = None; from celery.__main__ import main; main()"
"""Celery's command loads all plug-ins that are installed; ours fail, which it says and goes on."""


@contextlib.contextmanager
def stock_worker(folder: Path, redis_url: str, effects: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`celery -A stock worker`, which writes [id, task, value] of each job to ``effects``."""
    (folder / "stock.py").write_text(APP)
    variables = {"PATH": "/usr/bin:/bin", "REDIS_URL": redis_url, "EFFECTS": str(effects), "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", COMMAND, "-A", "stock", "worker", "-P", "solo", "-Q", "default", *options]
    with (folder / "stock.log").open("wb") as log:
        process = subprocess.Popen(command, env=variables, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
