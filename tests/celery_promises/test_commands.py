"""The command line"""

import json

from tests.celery_promises import jobs
from tests.celery_promises.system import System

PATIENCE = 10


def test_call(system: System) -> None:
    """`celery call` sends a task and prints its id."""
    printed = system.command("call", jobs.add.name, "--args", "[2, 3]", "--queue", "side")
    assert system.app.AsyncResult(printed.strip()).get(timeout=PATIENCE) == 5


def test_result(system: System) -> None:
    """`celery result` prints a task's result."""
    result = jobs.add.delay(20, 22)
    result.get(timeout=PATIENCE)
    assert system.command("result", result.id).strip() == "42"


def test_status(system: System) -> None:
    """`celery status` lists the workers that are online."""
    printed = system.command("status")
    assert f"{system.main}: OK" in printed
    assert "2 nodes online." in printed


def test_inspect(system: System) -> None:
    """`celery inspect` asks workers, and prints JSON if wanted."""
    printed = system.command("inspect", "ping", "--json", "-d", system.main)
    assert json.loads(printed) == {system.main: {"ok": "pong"}}


def test_control(system: System) -> None:
    """`celery control` commands workers."""
    assert "OK" in system.command("control", "-d", system.main, "rate_limit", jobs.sleeps.name, "100/s")


def test_purge(system: System, key: str) -> None:
    """`celery purge -Q` deletes what waits in these queues, of every priority, and says how many that were."""
    queue = f"purged_{key}"
    for priority in (0, 0, 3, 9):
        jobs.add.apply_async((1, 1), queue=queue, priority=priority)
    assert system.depth(queue) == 4
    assert "Purged 4 messages" in system.command("purge", "-f", "-Q", queue)
    assert system.depth(queue) == 0


def test_report(system: System) -> None:
    """`celery report` describes software and settings."""
    assert "celery:5.7.0" in system.command("report")


def test_help(system: System) -> None:
    """`celery --help` lists Celery's commands."""
    printed = system.command("--help")
    for command in ("worker", "beat", "inspect", "control", "purge", "events", "multi"):
        assert command in printed
