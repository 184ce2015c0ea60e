import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock import checks
from penstock.app import PenstockApp, make_app
from penstock.checks import require_redis, require_servers
from penstock.cli.check import check
from penstock.config import Settings
from penstock.errors import BrokerUnavailable, LedgerOutdated, PenstockError
from penstock.ledger import schema
from penstock.profile import Profile
from penstock.scheduler.schedule import Every, Schedule
from tests import jobs as tasks
from tests.cli.conftest import run_with

NOWHERE = {"REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": "postgresql://ada:secret@127.0.0.1:1/ledger"}
EVERY_QUEUE = (Profile(name="main", queues=("default", "celery", "web"), children=1),)


def deployed(variables: dict[str, str], **parts: Any) -> PenstockApp:
    """An app that knows these settings, profiles and schedules; its default queue is ``default``."""
    settings = Settings.load(variables)
    return make_app(
        "tests", settings=settings, config={"task_default_queue": "default"}, **{"profiles": EVERY_QUEUE, **parts}
    )


def findings(app: PenstockApp) -> dict[str, dict[str, Any]]:
    """What `check --json` says, by name; its exit code must agree."""
    result = run_with(app, check, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == (0 if report["passed"] else 1)
    assert report["passed"] == all(finding["passed"] for finding in report["findings"])
    return {finding["name"]: finding for finding in report["findings"]}


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port at which somebody takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_sound_deployment_passes_with_a_line_for_everything(environment: dict[str, str]) -> None:
    result = run_with(deployed(environment), check)
    assert result.exit_code == 0, result.stdout
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["✔", name] for name in ("settings", "redis", "ledger", "schema", "queues", "schedules")
    ]


def test_the_servers_are_named_with_their_versions(environment: dict[str, str]) -> None:
    found = findings(deployed(environment))
    assert any(name in found["redis"]["text"] for name in ("Valkey ", "Redis "))
    assert any(name in found["ledger"]["text"] for name in ("SQLite 3.", "PostgreSQL 1"))
    assert schema.newest_revision() in found["schema"]["text"]


def test_servers_that_are_down_are_both_named_with_their_remedies() -> None:
    result = run_with(deployed(NOWHERE), check)
    assert result.exit_code == 1
    failed = {line.split()[1]: line for line in result.stdout.splitlines() if line.startswith("✘")}
    assert set(failed) == {"redis", "ledger", "schema"}
    assert "correct REDIS_URL" in failed["redis"]
    assert "correct DATABASE_URL" in failed["ledger"]
    assert "secret" not in result.output


def test_servers_that_are_silent_are_reported_together_in_time(
    silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "PATIENCE", 1.0)
    address = f"127.0.0.1:{silent_port}"
    app = deployed({"REDIS_URL": f"redis://{address}/0", "DATABASE_URL": f"postgresql://ada:secret@{address}/ledger"})
    begun = time.monotonic()
    found = findings(app)
    assert time.monotonic() - begun < 3
    assert not found["redis"]["passed"]
    assert not found["ledger"]["passed"]


def test_nobody_waits_much_longer_than_five_seconds() -> None:
    assert checks.PATIENCE + checks.GRACE <= 6


def test_a_ledger_without_tables_is_told_how_to_get_them(environment: dict[str, str]) -> None:
    schema.downgrade(environment["DATABASE_URL"], "base")
    found = findings(deployed(environment))
    assert found["ledger"]["passed"]
    assert not found["schema"]["passed"]
    assert "ledger upgrade" in found["schema"]["text"]


def test_a_sqlite_file_that_does_not_exist_is_not_created(broker_url: str, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "ledger.db"
    found = findings(deployed({"REDIS_URL": broker_url, "DATABASE_URL": f"sqlite:///{path}"}))
    assert "ledger upgrade" in found["schema"]["text"]
    assert not found["schema"]["passed"]
    assert not path.parent.exists()


@pytest.fixture
def quick_environment(broker_url: str, sqlite_template: Path) -> dict[str, str]:
    """A deployment whose database is not what the test is about."""
    return {"REDIS_URL": broker_url, "DATABASE_URL": f"sqlite:///{sqlite_template}"}


def test_a_task_whose_queue_nobody_serves_is_named(quick_environment: dict[str, str]) -> None:
    found = findings(deployed(quick_environment, profiles=(Profile(name="web", queues=("web",), children=1),)))
    assert not found["queues"]["passed"]
    assert "tests.jobs.add waits on 'default'" in found["queues"]["text"]
    assert "workers/profiles.py" in found["queues"]["text"]


def test_a_plain_celery_task_waits_on_the_default_queue(quick_environment: dict[str, str]) -> None:
    found = findings(deployed(quick_environment, profiles=(Profile(name="web", queues=("web",), children=1),)))
    assert "tests.plain waits on 'default'" in found["queues"]["text"]
    assert "celery.chord" not in found["queues"]["text"]


def test_a_schedule_whose_arguments_do_not_fit_is_named(quick_environment: dict[str, str]) -> None:
    wrong = Schedule(name="nightly", task=tasks.add, when=Every(60), kwargs={"left": 1})
    found = findings(deployed(quick_environment, schedules=(wrong,)))
    assert not found["schedules"]["passed"]
    assert "'nightly'" in found["schedules"]["text"]
    assert "right" in found["schedules"]["text"]


def test_a_module_that_cannot_be_imported_is_named(quick_environment: dict[str, str]) -> None:
    app = deployed(quick_environment)
    app.conf.include = ["tasks.no_such_module"]
    found = findings(app)
    assert not found["queues"]["passed"]
    assert "tasks.no_such_module" in found["queues"]["text"]


def test_a_worker_is_told_of_both_servers_at_once() -> None:
    with pytest.raises(PenstockError) as caught:
        require_servers(Settings.load(NOWHERE))
    assert "REDIS_URL" in str(caught.value)
    assert "DATABASE_URL" in str(caught.value)


def test_a_worker_is_told_of_one_server_by_its_own_error(environment: dict[str, str]) -> None:
    require_servers(Settings.load(environment))
    with pytest.raises(BrokerUnavailable):
        require_servers(Settings.load({**environment, "REDIS_URL": NOWHERE["REDIS_URL"]}))
    schema.downgrade(environment["DATABASE_URL"], "base")
    with pytest.raises(LedgerOutdated):
        require_servers(Settings.load(environment))


def test_a_redis_that_is_down_is_known_at_once(quick_environment: dict[str, str]) -> None:
    begun = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        require_redis(Settings.load({**quick_environment, "REDIS_URL": NOWHERE["REDIS_URL"]}))
    assert time.monotonic() - begun < 3
    require_redis(Settings.load(quick_environment))
