"""A real Flower with this deployment's flowerconfig.py: who may come in, from where, and what it shows."""

import base64
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from penstock.embedded import System, prepared_system
from penstock.flower.routes import ROUTES
from tests.live import ROOT, wait_for

SHOWN = ("/workers", "/tasks", "/broker", "/api/workers?refresh=1", "/api/tasks", "/api/queues/length", "/metrics")
Reply = tuple[int, str]


class Flower:
    """`celery -A tests.worker_app flower`, up when made."""

    def __init__(self, environment: dict[str, str], log: Path, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "tests.worker_app", "flower"],
                env=environment,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_for(lambda: self._is_up() or self.process.poll() is not None, "Flower is up")
        assert self.process.poll() is None, log.read_text()

    def get(self, path: str, credentials: str | None = None) -> Reply:
        """Status and body."""
        request = urllib.request.Request(self._url + path)  # noqa: S310
        if credentials:
            request.add_header("Authorization", "Basic " + base64.b64encode(credentials.encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def _is_up(self) -> bool:
        try:
            return self.get("/healthcheck")[0] == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A broker with a password."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    folder = tmp_path_factory.mktemp("flower")
    with prepared_system(kept | {"PENSTOCK_VAR": str(folder), "PYTHONPATH": str(ROOT)}) as prepared:
        yield prepared


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "Redis at redis://127.0.0.1:1/0 does not answer"),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}, "the ledger at .* does not answer"),
        ({"DATABASE_URL": "sqlite:///{folder}/new.db"}, "run `celery -A workers ledger upgrade`"),
    ],
    ids=["no Redis", "no SQL server", "no tables"],
)
def test_it_does_not_start_without_its_servers(
    system: System, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    changed = {name: value.format(folder=tmp_path) for name, value in change.items()}
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "tests.worker_app", "flower"],
        env=system.environment | changed,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert len(re.findall(message, done.stderr)) == 1, done.stderr
    assert not (tmp_path / "new.db").exists()


@pytest.fixture(scope="module")
def flower(system: System) -> Iterator[Flower]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running = Flower(system.environment | {"FLOWER_PORT": str(port)}, system.settings.var / "flower.log", port)
    yield running
    running.process.kill()
    running.process.wait()


@pytest.fixture
def credentials(system: System) -> str:
    return (system.settings.var / "flower-credentials").read_text().strip()


@pytest.mark.parametrize("path", ["/", "/workers", "/tasks", "/broker", "/api/workers", "/api/queues/length"])
def test_nobody_comes_in_without_the_password(flower: Flower, credentials: str, path: str) -> None:
    assert flower.get(path)[0] == 401
    assert flower.get(path, credentials + "x")[0] == 401
    assert flower.get(path, "penstock:guess")[0] == 401
    assert flower.get(path, credentials)[0] == 200


def test_it_listens_on_loopback_only(flower: Flower) -> None:
    connections = psutil.Process(flower.process.pid).net_connections()
    assert {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_the_broker_page_shows_how_many_jobs_wait(flower: Flower, system: System, credentials: str) -> None:
    with redis.Redis.from_url(system.settings.redis_url) as connection:
        connection.lpush("default", *["{}"] * 37)
    status, page = flower.get("/broker", credentials)
    assert status == 200
    assert re.search(r"<td>default</td>\s*<td[^>]*>37</td>", page), page


@pytest.mark.parametrize("path", [*SHOWN, *(pattern for pattern, *_ in ROUTES if "(" not in pattern)])
def test_no_page_shows_the_brokers_password(flower: Flower, system: System, credentials: str, path: str) -> None:
    password = redis.connection.parse_url(system.settings.redis_url)["password"]
    status, page = flower.get(path, credentials)
    assert status == 200
    assert password not in page
    assert password not in (system.settings.var / "flower.log").read_text()
