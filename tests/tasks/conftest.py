"""What the tests of task modules share."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from demo.sales_data import make_sales_database
from penstock import Settings, client
from penstock.client import publishing
from tasks import http, http_in_loop
from tests.conftest import NewLedger
from tests.conftest import deployment as describe_deployment
from tests.live import Worker
from tests.tasks.site import Site, make_certificate

#: Of the scheme's own form; signs nothing outside of these tests.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwbm9yZGVy"


@pytest.fixture(autouse=True)
def task_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Task settings of the test's own: loopback may be reached, and reports go to a folder of the test."""
    monkeypatch.setenv("TASKS_EGRESS_ALLOW", "127.0.0.0/8")
    monkeypatch.setenv("TASKS_WEBHOOK_SECRETS", f"default={SECRET}")
    monkeypatch.setenv("TASKS_REPORTS_FOLDER", str(tmp_path / "reports"))


@pytest.fixture(autouse=True)
def _fresh_pool() -> Iterator[None]:
    yield
    http.close_pool()
    http_in_loop._context.cache_clear()


@pytest.fixture
def site() -> Iterator[Site]:
    """A web site on 127.0.0.1."""
    with Site().running() as made:
        yield made


@pytest.fixture
def secure_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site whose certificate, trusted here, is for shop.example alone."""
    context = make_certificate(tmp_path, "shop.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with Site(context=context).running() as made:
        yield made


class Names:
    """A stand-in for DNS, which no test can have on loopback: addresses by name, one list per look-up."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self._real: Callable[..., Any] = socket.getaddrinfo

    def look_up(self, host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        if host not in self.answers:
            return self._real(host, port, *args, **kwargs)
        self.asked.append(host)
        answers = self.answers[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [entry for address in found for entry in self._real(address, port, *args, **kwargs)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Names that resolve as the test says."""
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.look_up)
    return made


@dataclass(frozen=True)
class Deployment:
    """A running worker of `workers`, on both queues, and what belongs to it."""

    worker: Worker
    site: Site
    sales: Path
    reports: Path
    database_url: str


@contextmanager
def deployed(
    broker_url: str, new_ledger: NewLedger, folder: Path, app: str = "workers", **more: str
) -> Iterator[Deployment]:
    """A worker with Valkey, SQLite, a sales database and an endpoint on loopback.

    Args:
        app: where Celery finds the app.
        more: environment variables.
    """
    make_sales_database(folder / "sales.db", rows=20_000)
    with new_ledger("sqlite") as url, Site().running() as site, redis.Redis.from_url(broker_url) as connection:
        connection.flushdb()
        variables = describe_deployment(broker_url, url, folder) | {
            "TASKS_EGRESS_ALLOW": "127.0.0.0/8",
            "TASKS_WEBHOOK_SECRETS": f"default={SECRET}",
            "TASKS_DATABASES": f"sales=sqlite:///{folder}/sales.db",
            "TASKS_REPORTS_FOLDER": str(folder / "reports"),
            "TASKS_SALES_WEBHOOK": site.url("/sales"),
            "TASKS_SHELL_ALLOW": "sh",
            **more,
        }
        with Worker(variables, folder / "worker.log", "-Q", "default,web", app=app) as worker:
            client_before = publishing._publisher
            client.configure(Settings.load(variables))
            yield Deployment(worker, site, folder / "sales.db", folder / "reports", url)
            publishing._publisher = client_before
        connection.flushdb()


@pytest.fixture(scope="module")
def deployment(
    live_broker_url: str, new_ledger: NewLedger, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A worker for all tests of a module."""
    with deployed(live_broker_url, new_ledger, tmp_path_factory.mktemp("deployment")) as made:
        yield made
