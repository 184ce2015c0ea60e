import json
import logging
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from penstock import checks
from penstock.app import PenstockApp, make_app
from penstock.checks import require_redis, require_servers
from penstock.cli.check import check
from penstock.config import Settings
from penstock.embedded import prepared_system
from penstock.errors import BrokerUnavailable, LedgerOutdated, PenstockError
from penstock.ledger import schema
from penstock.profile import Profile
from penstock.scheduler import Every, Schedule
from tests import jobs as tasks
from tests.cli.conftest import run_with
from tests.embedded.owner import variables
from tests.live import ROOT
from tests.servers import KINDS, running

NOWHERE = {"REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": "postgresql://ada:secret@127.0.0.1:1/ledger"}
EVERY_QUEUE = (Profile(name="main", queues=("default", "celery", "web", "pages"), children=1),)


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
    with running("redis", "--appendonly", "yes") as server:
        result = run_with(deployed({**environment, "REDIS_URL": server.url}), check)
    assert result.exit_code == 0, result.stdout
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["✔", name]
        for name in ("settings", "redis", "policy", "persistence", "ledger", "schema", "queues", "schedules")
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
    assert set(failed) == {"redis", "policy", "persistence", "ledger", "schema"}
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


def test_a_redis_without_aof_is_a_warning_that_fails_nothing(quick_environment: dict[str, str]) -> None:
    with running("valkey") as server:
        app = deployed({**quick_environment, "REDIS_URL": server.url})
        persistence = findings(app)["persistence"]
        result = run_with(app, check)
    assert persistence["passed"]
    assert persistence["warning"]
    assert "set appendonly to yes" in persistence["text"]
    assert result.exit_code == 0
    assert "!  persistence" in result.stdout


def test_the_embedded_server_is_no_cause_for_a_warning(sqlite_template: Path, tmp_path: Path) -> None:
    given = variables(tmp_path) | {"DATABASE_URL": f"sqlite:///{sqlite_template}"}
    with prepared_system(given) as system:
        found = findings(deployed(system.environment))
    assert not any(finding["warning"] for finding in found.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_redis_that_drops_keys_when_it_is_full_is_refused(
    quick_environment: dict[str, str], kind: str, policy: str
) -> None:
    with running(kind, "--maxmemory", "64mb", "--maxmemory-policy", policy) as server:
        given = {**quick_environment, "REDIS_URL": server.url}
        found = findings(deployed(given))
        with pytest.raises(BrokerUnavailable, match="set maxmemory-policy to noeviction"):
            require_servers(Settings.load(given))
    assert found["redis"]["passed"]
    assert not found["policy"]["passed"]
    assert policy in found["policy"]["text"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--maxmemory", "64mb", "--maxmemory-policy", "noeviction"), "of 64 MiB used"),
        # Without a limit nothing is ever dropped.
        (("--maxmemory-policy", "allkeys-lru"), "without a maxmemory"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_redis_that_drops_nothing_is_accepted(
    quick_environment: dict[str, str], kind: str, options: tuple[str, ...], said: str
) -> None:
    with running(kind, *options) as server:
        found = findings(deployed({**quick_environment, "REDIS_URL": server.url}))
        require_redis(Settings.load({**quick_environment, "REDIS_URL": server.url}))
    assert found["policy"]["passed"]
    assert said in found["policy"]["text"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_is_refused(quick_environment: dict[str, str], kind: str) -> None:
    with running(kind, "--replicaof", "127.0.0.1 1") as server:
        assert_refused({**quick_environment, "REDIS_URL": server.url}, "is a replica", "name the master in REDIS_URL")


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_of_a_cluster_is_refused(quick_environment: dict[str, str], kind: str) -> None:
    with running(kind, "--cluster-enabled", "yes", tcp=True) as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        assert_refused({**quick_environment, "REDIS_URL": url}, "is part of a cluster", "Sentinel")


@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_is_wrong_with_a_redis_is_told_at_once(quick_environment: dict[str, str], kind: str) -> None:
    options = ("--replicaof", "127.0.0.1 1", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
    with running(kind, *options) as server, pytest.raises(BrokerUnavailable) as caught:
        require_redis(Settings.load({**quick_environment, "REDIS_URL": server.url}))
    assert "is a replica" in str(caught.value)
    assert "allkeys-lru" in str(caught.value)


def assert_refused(given: dict[str, str], *words: str) -> None:
    """The check fails and nothing starts, both with these words."""
    finding = findings(deployed(given))["redis"]
    assert not finding["passed"]
    with pytest.raises(BrokerUnavailable) as caught:
        require_servers(Settings.load(given))
    for word in words:
        assert word in finding["text"]
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("told", "is_served"),
    [
        ({"redis_version": "6.2.14"}, False),
        ({"redis_version": "7.0.0"}, True),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.11"}, False),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.0"}, True),
        ({"redis_version": "10.0.1"}, True),
    ],
)
def test_redis_7_and_valkey_8_are_the_oldest_that_serve(
    quick_environment: dict[str, str], told: dict[str, str], is_served: bool
) -> None:
    # No such servers are at hand; everything but the version is as a real one says it.
    with telling(told) as url:
        given = {**quick_environment, "REDIS_URL": url}
        if is_served:
            require_redis(Settings.load(given))
        else:
            assert_refused(given, "use Redis 7.0 or newer, or Valkey 8 or newer")


def test_a_redis_that_keeps_its_policy_to_itself_is_a_warning(quick_environment: dict[str, str]) -> None:
    with telling({"redis_version": "7.2.0"}) as url:
        policy = findings(deployed({**quick_environment, "REDIS_URL": url}))["policy"]
    assert policy["passed"]
    assert policy["warning"]


@contextmanager
def telling(info: dict[str, str]) -> Iterator[str]:
    """The address of somebody who speaks Redis's language, says this of himself, and understands nothing else."""

    class Answering(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while count := self.rfile.readline()[1:]:
                words = [self.rfile.readline() and self.rfile.readline().strip() for _ in range(int(count))]
                text = "".join(f"{name}:{value}\r\n" for name, value in info.items()).encode()
                self.wfile.write(b"$%d\r\n%s\r\n" % (len(text), text) if words[0] == b"INFO" else b"+OK\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        server.shutdown()


def test_one_connection_and_info_alone_are_enough(quick_environment: dict[str, str]) -> None:
    """A managed Redis allows no more."""
    users = ["user default on nopass -@all +info +client|setname"]
    with (
        running("valkey", config=users) as server,
        redis.Redis(unix_socket_path=str(server.path), protocol=2) as watching,
    ):
        before = watching.info("stats")["total_connections_received"]
        found = findings(deployed({**quick_environment, "REDIS_URL": server.url}))
        assert watching.info("stats")["total_connections_received"] == before + 1
    assert all(found[name]["passed"] for name in ("redis", "policy", "persistence"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["worker", "beat"])
def test_a_worker_and_a_beat_do_not_start_on_a_redis_that_drops_jobs(
    environment: dict[str, str], tmp_path: Path, kind: str
) -> None:
    with running("redis", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru") as server:
        done = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "tests.worker_app", kind],
            env={**environment, "REDIS_URL": server.url},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert "set maxmemory-policy to noeviction" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_start_logs_what_is_worth_a_warning(
    quick_environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with running("valkey") as server, caplog.at_level(logging.WARNING):
        require_servers(Settings.load({**quick_environment, "REDIS_URL": server.url}))
    assert "AOF is off" in caplog.text


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
    wrong = Schedule(name="nightly", task=tasks.add.name, when=Every(60), kwargs={"left": 1})
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
