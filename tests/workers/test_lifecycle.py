"""What a worker's processes open and close. The sockets of real children are looked at in tests/tasks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tasks import webhooks
from tests.conftest import NewLedger, deployment, producer
from tests.live import ROOT, Worker
from tests.tasks.site import Site

SHOW = """
import json, sys, workers
from celery import signals
from penstock import Settings
from penstock.ledger import queries, session
from tasks import http
seen = {}
def look(when):
    engines = list(session._engines.values())
    seen[when] = {
        "urllib3": "urllib3" in sys.modules,
        "pool": http._pool is not None,
        "engines": len(engines),
        "connections": sum(engine.pool.checkedin() + engine.pool.checkedout() for engine in engines),
    }
look("imported")
signals.worker_init.send(sender=None); look("before the fork")
signals.worker_process_init.send(sender=None); look("child")
with session.reading(Settings.load().database_url) as connection:
    queries.ping(connection)
look("used")
signals.worker_process_shutdown.send(sender=None); look("ended")
signals.worker_process_init.send(sender=None)
with session.reading(Settings.load().database_url) as connection:
    queries.ping(connection)
signals.worker_shutdown.send(sender=None); look("ended without children")
print(json.dumps(seen))
"""


def test_a_child_opens_its_own_and_closes_it(tmp_path: Path, new_ledger: NewLedger) -> None:
    """Prefork tells that a child ends; solo and threads workers tell only that they end themselves."""
    with new_ledger("sqlite") as url:
        environment = deployment("redis://127.0.0.1:1/0", url, tmp_path)
        command = [sys.executable, "-c", SHOW]
        output = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    nothing = {"pool": False, "engines": 0, "connections": 0}
    ended = {"urllib3": True, "pool": False, "engines": 1, "connections": 0}
    assert json.loads(output) == {
        "imported": {"urllib3": False, **nothing},
        "before the fork": {"urllib3": True, **nothing},
        "child": {"urllib3": True, "pool": True, "engines": 1, "connections": 0},
        "used": {"urllib3": True, "pool": True, "engines": 1, "connections": 1},
        "ended": ended,
        "ended without children": ended,
    }


@pytest.mark.slow
def test_tasks_run_in_threads_too(broker_url: str, new_ledger: NewLedger, tmp_path: Path) -> None:
    """That pool tells nobody when its threads begin."""
    with new_ledger("sqlite") as url, Site().running() as site:
        variables = deployment(broker_url, url, tmp_path) | {"TASKS_EGRESS_ALLOW": "127.0.0.0/8"}
        options = ("-Q", "web", "-P", "threads")
        with Worker(variables, tmp_path / "worker.log", *options, app="workers"), producer(variables):
            assert webhooks.check_url.enqueue(site.url()).result(timeout=20)["status"] == 200
