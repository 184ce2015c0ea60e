"""What pytest finds once Penstock is installed. It imports nothing and starts nothing before a fixture is used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from penstock.testing.jobs import Jobs
    from penstock.testing.servers import Servers


def pytest_addoption(parser: pytest.Parser) -> None:
    """Settings, in ``[tool.pytest.ini_options]`` of pyproject.toml or in pytest.ini."""
    parser.addini(
        "penstock_app",
        "the Celery app whose tasks the fixture `jobs` runs, as `celery -A` takes it: module or module:name. Without "
        "it the tasks declared with @task that the tests import.",
        default="",
    )
    parser.addini(
        "penstock_empty_ledger",
        "whether tests may delete every row of the ledger in the database of DATABASE_URL.",
        type="bool",
        default=False,
    )


@pytest.fixture(scope="session")
def penstock_redis_url() -> str:
    """Address of the Redis for tests: REDIS_URL, or empty for one that is started. Override it to choose another.

    Only keys with a prefix of the session's own are written and removed there.
    """
    return os.environ.get("REDIS_URL", "")


@pytest.fixture(scope="session")
def penstock_database_url() -> str:
    """Address of the database with the tests' ledger: DATABASE_URL, or empty for a SQLite file. Override it to choose
    another, as the test database of an application that enqueues in its own transactions.
    """
    return os.environ.get("DATABASE_URL", "")


@pytest.fixture(scope="session")
def penstock_servers(
    pytestconfig: pytest.Config, penstock_redis_url: str, penstock_database_url: str
) -> Iterator[Servers]:
    """Real servers for the session, also in the environment; under pytest-xdist each process has its own."""
    from penstock.errors import PenstockError

    try:
        from penstock.testing import servers
    except ImportError as error:
        raise pytest.UsageError(f"the fixture jobs needs more ({error}): install penstock[testing]") from error
    may_empty = bool(pytestconfig.getini("penstock_empty_ledger"))
    is_shared = penstock_database_url and penstock_database_url == os.environ.get("DATABASE_URL")
    if is_shared and "PYTEST_XDIST_WORKER" in os.environ:
        raise pytest.UsageError(
            "processes of pytest-xdist cannot share one ledger: override the fixture penstock_database_url with an "
            "address for each, made with PYTEST_XDIST_WORKER, or unset DATABASE_URL for a SQLite file each"
        )
    try:
        running = servers.running(
            penstock_redis_url, penstock_database_url, may_empty=may_empty, environ=dict(os.environ)
        )
        with running as made, pytest.MonkeyPatch.context() as patch:
            for name, value in made.environment.items():
                patch.setenv(name, value)
            yield made
    except PenstockError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.fixture(scope="session")
def penstock_app(pytestconfig: pytest.Config, penstock_servers: Servers) -> Any:
    """The Celery app of `penstock_app` in pytest's settings, pointed at the tests' servers."""
    from penstock.errors import PenstockError
    from penstock.testing.sandbox import application

    try:
        return application(pytestconfig.getini("penstock_app"), penstock_servers.settings)
    except PenstockError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.fixture
def jobs(pytestconfig: pytest.Config, penstock_app: Any, penstock_servers: Servers) -> Iterator[Jobs]:
    """What this test enqueues: seen, run here, drained, killed; see docs/testing.md. Queues and ledger are empty."""
    from penstock.testing.jobs import Jobs

    with Jobs(penstock_app, str(pytestconfig.getini("penstock_app")), penstock_servers) as made:
        yield made
