"""Every kind of pool, and every kind of address: jobs run in order, and remote control and events work."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.events.receiver import EventReceiver

from penstock.broker.connection import connect
from tests.broker.test_connection import Place, by_sentinel, by_socket, by_tcp, by_tls
from tests.engine.station import Station
from tests.live import Worker, wait_for

COMBINATIONS = [
    ("prefork", by_tcp),
    ("processes", by_tcp),
    ("threads", by_socket),
    ("solo", by_sentinel),
    ("gevent", by_tls),
]


@dataclass(frozen=True)
class Post:
    """A worker, its Redis, and an app that submits to it."""

    pool: str
    station: Station
    worker: Worker
    app: Celery
    redis: Any

    def send(self, task: str, *args: Any, **options: Any) -> str:
        return self.station.send(task, *args, app=self.app, **options)


@pytest.fixture(
    scope="module", params=COMBINATIONS, ids=lambda combination: f"{combination[0]}-{combination[1].__name__}"
)
def post(request: pytest.FixtureRequest, station: Station, folder: Path) -> Iterator[Post]:
    pool: str
    form: Callable[[], AbstractContextManager[Place]]
    pool, form = request.param
    with form() as place:
        changes = {"broker_url": place.url, "options": place.options, "worker_prefetch_multiplier": 1}
        app = station.adopted(**changes)
        # Patching for gevent makes Celery look for the project's own settings.
        environment = {"REDIS_URL": station.server.url, "DATABASE_URL": "sqlite:///unused"}
        options = ("-P", pool, "-E")
        with (
            station.worker(*options, environment=environment, **changes) as worker,
            connect(place.url, place.options) as client,
        ):
            yield Post(pool, station, worker, app, client)
        app.close()


def test_jobs_run_and_are_settled(post: Post) -> None:
    ids = [post.send("touch", i) for i in range(20)]
    for id in ids:
        post.station.ended(id)
    wait_for(lambda: not post.redis.keys("penstock:inflight:*"), "everything is settled")
    starts = [start for start in post.station.effects(event="start") if start["id"] in ids]
    assert [start["id"] for start in starts] == ids


def test_the_more_urgent_job_goes_first(post: Post) -> None:
    if post.pool == "solo":
        post.app.control.cancel_consumer("celery")
        wait_for(lambda: "Canceling queue celery" in post.worker.log, "it consumes nothing")
    else:
        end = post.station.gate("end")
        post.station.started(post.send("hold", str(end)))
    low, high, middle = (post.send("touch", priority=priority) for priority in (9, 0, 5))
    if post.pool == "solo":
        post.app.control.add_consumer("celery")
    else:
        end.touch()
    for id in (low, high, middle):
        post.station.ended(id)
    starts = [start["id"] for start in post.station.effects(event="start")]
    assert [id for id in starts if id in (low, high, middle)] == [high, middle, low]


def test_it_answers_remote_control(post: Post) -> None:
    (answer,) = post.app.control.inspect(timeout=3, limit=1).ping().values()
    assert answer == {"ok": "pong"}


def test_its_events_can_be_watched(post: Post) -> None:
    seen: set[tuple[str, str]] = set()
    sent: list[str] = []

    def note(event: dict[str, Any]) -> None:
        seen.add((event["type"], event.get("uuid", "")))
        if all_seen():
            receiver.should_stop = True

    def all_seen() -> bool:
        kinds = ("received", "started", "succeeded")
        return any({(f"task-{kind}", id) for kind in kinds} <= seen for id in tuple(sent))

    def send_again() -> bool:
        # Because the subscription takes a moment of which nobody tells.
        sent.append(post.send("touch"))
        return not listening.is_alive()

    with post.app.connection_for_read() as connection:
        receiver = EventReceiver(connection, app=post.app, handlers={"*": note})
        listening = threading.Thread(target=receiver.capture, kwargs={"limit": None, "timeout": 10})
        listening.start()
        wait_for(send_again, "all events of a job are seen", 15)
    assert all_seen()
