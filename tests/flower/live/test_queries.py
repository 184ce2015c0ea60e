"""No page asks more of the ledger and of Redis because there is more in them: counted at little and at much."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from flower.options import default_options
from flower.urls import settings
from redis.connection import AbstractConnection
from sqlalchemy import event
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets

from penstock.app import PenstockApp
from penstock.flower.errands import Errand
from penstock.flower.routes import ROUTES
from penstock.flower.site import Site
from penstock.ledger.session import engine_for
from tests.conftest import NewLedger, deployment, producer
from tests.flower.live.asking import ask
from tests.flower.live.crowd import ADDRESSES, NOWHERE, Size, fill

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LITTLE = Size(jobs=20, errors=2, letters=2, queues=3, schedules=3, fires=2, unknown_tasks=2, workers=2, deeds=2)
MUCH = Size(
    jobs=400, errors=80, letters=1100, queues=60, schedules=150, fires=120, unknown_tasks=60, workers=20, deeds=150
)
PAGES = {path: name for known in (ADDRESSES, NOWHERE) for name, paths in known.items() for path in paths}
"""The page at each address."""
MORE_TRIPS = {
    # They wait for answers of workers, that of a job for what these know of why it waits, and look for one so many
    # times more or less as the clock has it.
    "job": 12,
    "processes": 12,
    "worker-processes": 12,
    # Where the sums differ, it walks through every list, as long as these hold 1,000 messages at most: twice, ten lists
    # or indexes of a queue, each with one trip and one that tells its end.
    "audit": 2 * 10 * 2 * MUCH.queues,
}
"""Pages that may go to Redis so many times more at much."""
MORE_STATEMENTS = {
    # A look whose sums differ is taken again, up to five times, as the clock has it, and examined twice.
    "/audit": 40,
}
"""Addresses at which the ledger may be asked so many times more at much."""


@dataclass(frozen=True)
class Asked:
    """What one page has asked."""

    status: int
    statements: Counter[str]
    """Of SQL, by their texts."""
    trips: Counter[str]
    """To Redis, by the first command of each; a pipeline or a script is one."""


@pytest.fixture(scope="module")
def app(redis_server: str, new_ledger: NewLedger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PenstockApp]:
    folder: Path = tmp_path_factory.mktemp("queries")
    with (
        new_ledger("postgresql") as url,
        redis.Redis.from_url(redis_server) as client,
        producer(deployment(redis_server, url, folder)) as made,
    ):
        client.flushdb()
        yield made
        client.flushdb()


@pytest.fixture(scope="module")
def address(app: PenstockApp) -> Iterator[str]:
    """Of our Flower, in a thread of this process."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        site = Site(options=default_options, capp=app, io_loop=IOLoop.current(), **settings)
        errand = Errand("Nothing much", "dana", "/history", id="an-errand")
        site.errands.begin(errand, lambda _: "done")
        server = HTTPServer(site)
        (socket, *_) = bind_sockets(0, address="127.0.0.1")
        server.add_sockets([socket])
        found.update(port=socket.getsockname()[1], end=asyncio.Event(), loop=asyncio.get_running_loop())
        ready.set()
        await found["end"].wait()
        server.stop()
        site.executor.shutdown()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    yield f"http://127.0.0.1:{found['port']}"
    found["loop"].call_soon_threadsafe(found["end"].set)
    thread.join(20)


@contextmanager
def listening(url: str) -> Iterator[tuple[Counter[str], Counter[str]]]:
    """Counts this process's statements and its trips to Redis."""
    statements: Counter[str] = Counter()
    trips: Counter[str] = Counter()

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements[" ".join(statement.split())] += 1

    def send(connection: Any, command: Any, **options: Any) -> None:
        trips[b"".join(command).split(b"\r\n")[2].decode().upper()] += 1
        sent(connection, command, **options)

    engine, sent = engine_for(url), AbstractConnection.send_packed_command
    event.listen(engine, "before_cursor_execute", note)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AbstractConnection, "send_packed_command", send)
        yield statements, trips
    event.remove(engine, "before_cursor_execute", note)


def ask_all(app: PenstockApp, address: str) -> dict[str, Asked]:
    """Each page twice, and counted the second time: what is asked once in the life of a process is no matter."""
    found = {}
    for path in PAGES:
        ask(address, path)
        with listening(app.settings.database_url) as (statements, trips):
            status = ask(address, path).status
        found[path] = Asked(status, statements, trips)
    return found


@pytest.fixture(scope="module")
def asked(app: PenstockApp, address: str) -> tuple[dict[str, Asked], dict[str, Asked]]:
    """At little and at much."""
    fill(app, LITTLE)
    little = ask_all(app, address)
    fill(app, MUCH)
    return little, ask_all(app, address)


def test_every_page_is_asked() -> None:
    assert set(ADDRESSES) == {name for _, _, name in ROUTES}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_the_ledger_no_more_at_much(asked: tuple[dict[str, Asked], dict[str, Asked]], path: str) -> None:
    little, much = (each[path] for each in asked)
    assert much.status == little.status < 500
    more = much.statements - little.statements
    assert not more or much.statements.total() <= little.statements.total() + MORE_STATEMENTS.get(path, 0), more


@pytest.mark.parametrize("path", PAGES)
def test_a_page_goes_no_more_often_to_redis_at_much(
    asked: tuple[dict[str, Asked], dict[str, Asked]], path: str
) -> None:
    """A trip may hold more commands: those of all queues go in one pipeline."""
    little, much = (each[path] for each in asked)
    assert much.trips.total() <= little.trips.total() + MORE_TRIPS.get(PAGES[path], 0), much.trips - little.trips


def test_the_counting_notices_statements_and_trips(app: PenstockApp, address: str) -> None:
    with listening(app.settings.database_url) as (statements, trips):
        assert ask(address, "/queues").status == 200
    assert statements.total() > 0
    assert trips["SMEMBERS"] == 1
