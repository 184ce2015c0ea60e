"""What publishing does not wait for."""

import time
from collections.abc import Iterator

import pytest
import redis

from penstock.broker.publisher import PATIENCE, Producers
from penstock.errors import BrokerUnavailable
from tests.servers import Server, running


@pytest.fixture(scope="module")
def full() -> Iterator[Server]:
    """A server that takes no more."""
    with running("valkey") as server:
        with redis.Redis(unix_socket_path=str(server.path)) as client:
            client.config_set("maxmemory", 1)
        yield server


def test_a_refusal_that_does_not_pass_is_told_at_once(full: Server) -> None:
    """A web request must not hang for the seconds that a lost connection would be worth."""
    started = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="is full and takes no new jobs"):
        Producers(full.url).publish("mail", 0, [("j1", b'{"a": 1')])
    assert time.monotonic() - started < PATIENCE.seconds / 2
