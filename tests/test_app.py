"""The Celery app: a twin for every declared task, plain Celery tasks beside it, checks before anything starts."""

import json
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from penstock.adoption import adopt
from penstock.app import PenstockApp, TaskTwin
from penstock.client import HARD_LIMIT_GRACE
from penstock.errors import ArgumentError
from tasks import webhooks
from tests import jobs

ROOT = Path(__file__).parent.parent


def test_every_declared_task_has_a_twin_with_its_options(app: PenstockApp) -> None:
    twin = app.tasks["tests.jobs.overrun"]
    assert (twin.queue, twin.soft_time_limit, twin.time_limit) == ("default", 0.5, 0.5 + HARD_LIMIT_GRACE)


def test_a_task_that_is_declared_later_gets_its_twin_too(app: PenstockApp) -> None:
    from penstock import task

    app.finalize()
    name = f"tests.late.{uuid.uuid4()}"
    task(name=name)(declared_late)
    assert name in app.tasks


def declared_late() -> None: ...


def test_plain_celery_tasks_live_in_the_same_app(app: PenstockApp, broker: redis.Redis) -> None:
    app.tasks["tests.plain"].delay(1, 2)
    assert broker.llen("default") == 1


def test_celerys_delay_refuses_arguments_that_do_not_fit(app: PenstockApp, broker: redis.Redis) -> None:
    with pytest.raises(ArgumentError, match=r"tests\.jobs\.add"):
        app.tasks[jobs.add.name].delay(1, 2, 3)
    assert broker.llen("default") == 0


def test_a_twin_waits_on_its_declared_queue(app: PenstockApp, broker: redis.Redis) -> None:
    app.tasks[webhooks.check_url.name].delay("http://localhost")
    assert broker.llen("web") == 1


def test_a_twin_sends_its_declared_tags_unless_the_call_has_its_own(app: PenstockApp, broker: redis.Redis) -> None:
    from penstock import task

    app.finalize()
    name = f"tests.tagged.{uuid.uuid4()}"
    task(name=name, tags=["nightly"])(declared_late)
    app.tasks[name].delay()
    app.tasks[name].apply_async(headers={"tags": ["mine"], "tenant": "a"})
    app.tasks[name].s().apply_async()
    raws: Any = broker.lrange("default", 0, -1)
    assert [json.loads(raw)["headers"]["tags"] for raw in raws] == [["nightly"], ["mine"], ["nightly"]]


def test_a_task_that_is_sent_by_its_name_waits_on_its_declared_queue(app: PenstockApp, broker: redis.Redis) -> None:
    app.send_task("tasks.webhooks.check_url", ["http://localhost"])
    assert broker.llen("web") == 1


def test_apps_of_one_process_have_twins_of_their_own() -> None:
    one, two = (adopt(Celery(name, broker="memory://", set_as_current=False)) for name in ("one", "two"))
    for app in (one, two, one):
        assert app.tasks[jobs.add.name].app is app


def test_an_adopted_apps_own_task_is_not_replaced_by_a_declared_one_of_its_name() -> None:
    app = Celery("own", set_as_current=False)
    app.task(name=jobs.add.name, shared=False)(declared_late)
    assert not isinstance(adopt(app).tasks[jobs.add.name], TaskTwin)


def test_making_an_app_connects_to_nothing() -> None:
    """The address leads nowhere; importing the app and looking at its tasks must not care."""
    code = "import workers; print(len(workers.app.tasks) > 5)"
    environment = {
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "DATABASE_URL": "postgresql://127.0.0.1:1/x",
        "PATH": "/usr/bin",
    }
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "True"


@pytest.mark.parametrize("command", ["worker", "beat", "flower", "check", "jobs list"])
def test_a_broken_environment_is_one_message_and_no_traceback(command: str) -> None:
    ended = run_celery(command, {"REDIS_URL": "amqp://x", "PENSTOCK_DRAIN_SECOND": "1", "TASKS_SHELL_ALLOW": "/none"})
    assert ended.returncode == 1
    assert ended.stderr.startswith("penstock: 3 problems in the settings:")
    assert "did you mean PENSTOCK_DRAIN_SECONDS?" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_a_redis_that_is_down_is_one_message_and_no_traceback(command: str, tmp_path: Path) -> None:
    ended = run_celery(command, {"REDIS_URL": "redis://127.0.0.1:1/0", "PENSTOCK_VAR": str(tmp_path)})
    assert ended.returncode == 1
    assert "Redis at redis://127.0.0.1:1/0 does not answer" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_a_database_that_is_down_is_one_message_and_no_traceback(command: str, broker_url: str) -> None:
    ended = run_celery(command, {"REDIS_URL": broker_url, "DATABASE_URL": "postgresql://127.0.0.1:1/x"})
    assert ended.returncode == 1
    assert "does not answer" in ended.stderr
    assert "DATABASE_URL" in ended.stderr
    assert "Traceback" not in ended.stderr


def run_celery(command: str, environment: dict[str, str], folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers", *command.split()],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_schedule_with_wrong_arguments_is_one_message_and_no_traceback(tmp_path: Path) -> None:
    for name in ("tasks", "schedules", "workers"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "celeryconfig.py", tmp_path)
    wrong = (tmp_path / "schedules" / "housekeeping.py").read_text().replace("days_by_task", "days_per_task")
    (tmp_path / "schedules" / "housekeeping.py").write_text(wrong)
    for command in ("check", "beat"):
        ended = run_celery(command, {"REDIS_URL": "redis://127.0.0.1:1/0"}, tmp_path)
        assert ended.returncode == 1
        assert ended.stderr.startswith("penstock: schedule 'retention': tasks.housekeeping.retain")
        assert "Traceback" not in ended.stderr
