"""A Redis and a Valkey on sockets of their own, and a bench on which one script at a time is tried."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests import servers
from tests.broker.bench import Bench


@pytest.fixture(scope="session", params=servers.KINDS)
def server_socket(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Socket of a server for this session: each test that needs one runs on Redis and on Valkey."""
    with servers.running(request.param) as server:
        yield server.path


@pytest.fixture
def server(server_socket: Path) -> Iterator[redis.Redis]:
    """A connection to an empty server."""
    with redis.Redis(unix_socket_path=str(server_socket)) as client:
        client.flushall()
        yield client


@pytest.fixture
def bench(server: redis.Redis) -> Bench:
    """The scripts on an empty server, under a prefix, so that a key outside of it is seen."""
    return Bench(server, "app.")
