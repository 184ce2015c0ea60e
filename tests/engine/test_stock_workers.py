"""What our producers send, a stock worker understands: the body, times, priorities, retries, canvas."""

import inspect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from celery import Celery, chain, chord, group
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

from penstock import Settings, Task, client, enqueue_many
from penstock.client import publishing
from penstock.task import Options
from tests.celery_promises.system import StartedEarly
from tests.conftest import deployment
from tests.engine import stock_app
from tests.live import wait_for

pytestmark = pytest.mark.slow
PATIENCE = 20


def undeclared(name: str) -> Task[..., Any]:
    """A task of ours that only this module knows; its body is in the stock application."""

    def elsewhere(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("runs in a stock worker")

    return Task(f"stock.{name}", elsewhere, Options(), inspect.signature(elsewhere))


see, note, requeued = undeclared("see"), undeclared("note"), undeclared("requeued")


@pytest.fixture(scope="module")
def stock(live_broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedEarly]:
    """A worker of the stock application."""
    folder = tmp_path_factory.mktemp("stock")
    environment = deployment(live_broker_url, "", folder) | {"STOCK_REDIS": live_broker_url}
    with redis.Redis.from_url(live_broker_url) as connection:
        connection.flushdb()
        with StartedEarly(
            "tests.celery_promises.stock_celery",
            False,
            environment,
            folder / "worker.log",
            "-n",
            "stock@here",
            "-Q",
            "celery,default",
            app="tests.engine.stock_app",
            children=1,
        ) as worker:
            yield worker
        connection.flushdb()


@pytest.fixture
def app(stock: StartedEarly, live_broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """A producer of ours, through ``enqueue`` and through Celery's own calls, and a reader of the stock results."""
    monkeypatch.setattr(publishing, "_publisher", None)
    client.configure(Settings.load({"REDIS_URL": live_broker_url}))
    made = Celery("ours", broker=live_broker_url, backend=live_broker_url, set_as_current=False)
    made.amqp_cls = "penstock.engine.amqp:AMQP"
    made.conf.result_extended = True
    yield made
    made.close()


def result_of(app: Celery, id: str) -> Any:
    return AsyncResult(id, app=app).get(PATIENCE)


def named(app: Celery, name: str, *args: Any, **options: Any) -> Any:
    return app.signature(f"stock.{name}", args=args, **options)


VALUES = [1, -(2**70), 2.5, True, None, "ä€😀\x00\\\"'\n", [[], {}], {"a": {"b": [1]}}, "\ud800", "x" * 5000]


def test_any_arguments_arrive(app: Celery) -> None:
    job = see.enqueue(*VALUES, name="ä", **{"with space": [1, {"two": None}]})
    seen = result_of(app, job.id)
    assert seen["args"] == VALUES
    assert seen["kwargs"] == {"name": "ä", "with space": [1, {"two": None}]}
    seen = result_of(app, app.send_task("stock.see", VALUES, {"name": "ä"}).id)
    assert (seen["args"], seen["kwargs"]) == (VALUES, {"name": "ä"})


@pytest.mark.parametrize("way", ["enqueue", "enqueue_many", "celery"])
def test_a_worker_knows_the_same_of_a_job_as_of_a_stock_one(app: Celery, stock: StartedEarly, way: str) -> None:
    stock_app.app.conf.broker_url = stock_app.app.conf.result_backend = app.conf.broker_url
    theirs = result_of(app, stock_app.see.delay(1, two=2).id)
    if way == "celery":
        id = app.send_task("stock.see", (1,), {"two": 2}, ignore_result=False).id
    else:
        id = see.enqueue(1, two=2).id if way == "enqueue" else enqueue_many([see.bind(1, two=2)])[0].id
    ours = result_of(app, id)
    assert ours["id"] == ours["root_id"] == ours["correlation_id"] == id
    same = set(theirs) - {"id", "root_id", "correlation_id", "delivery_info", "timelimit", "stamps"}
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    assert (ours["timelimit"] or [None, None]) == theirs["timelimit"]
    assert (ours["stamps"] or {}) == theirs["stamps"]
    assert ours["delivery_info"]["priority"] == theirs["delivery_info"]["priority"] == 0
    assert ours["delivery_info"]["routing_key"] == ("celery" if way == "celery" else "default")


def test_canvas_works(app: Celery) -> None:
    assert chain(named(app, "add", 1, 2), named(app, "add", 3), named(app, "add", 4)).apply_async().get(PATIENCE) == 10
    assert group(named(app, "add", n, n) for n in range(3)).apply_async().get(PATIENCE) == [0, 2, 4]
    assert chord([named(app, "add", n, n) for n in range(3)])(named(app, "total")).get(PATIENCE) == 6


def test_callbacks_and_errbacks_travel(app: Celery, live_broker_url: str) -> None:
    app.send_task("stock.add", [1, 2], link=named(app, "note", "linked", "yes", immutable=True))
    app.send_task("stock.add", [1, "2"], link_error=named(app, "note", "failed", "yes", immutable=True))
    with redis.Redis.from_url(live_broker_url) as connection:
        wait_for(lambda: connection.llen("linked") == connection.llen("failed") == 1, "both were called")


def test_a_job_is_tried_again(app: Celery) -> None:
    assert app.send_task("stock.third_time").get(PATIENCE) == 2


def test_a_message_goes_back_to_its_queue_unharmed(app: Celery) -> None:
    assert result_of(app, requeued.enqueue("ä€").id) == "ä€"
    assert app.send_task("stock.requeued", ["ä€"]).get(PATIENCE) == "ä€"


@pytest.mark.parametrize("way", ["enqueue", "celery"])
def test_a_job_for_later_waits_for_its_time(app: Celery, way: str) -> None:
    before = datetime.now(UTC)
    id = see.options(delay=1).enqueue().id if way == "enqueue" else app.send_task("stock.see", countdown=1).id
    seen = result_of(app, id)
    assert datetime.now(UTC) - before >= timedelta(seconds=1)
    assert datetime.fromisoformat(seen["eta"]) - before >= timedelta(seconds=1)


@pytest.mark.parametrize("way", ["enqueue", "celery"])
def test_a_job_that_expired_does_not_start(app: Celery, way: str) -> None:
    if way == "enqueue":
        id = see.options(expires=0.5, delay=1).enqueue().id
    else:
        id = app.send_task("stock.see", expires=0.5, countdown=1).id
    with pytest.raises(TaskRevokedError):
        result_of(app, id)


def test_priorities_are_kombus(app: Celery, live_broker_url: str) -> None:
    for priority in (9, 4, 0):
        note.options(queue="later", priority=priority).enqueue("order", f"enqueue {priority}")
        app.send_task("stock.note", ["order", f"celery {priority}"], queue="later", priority=priority)
    app.control.add_consumer("later", destination=["stock@here"])
    with redis.Redis.from_url(live_broker_url, decode_responses=True) as connection:
        wait_for(lambda: connection.llen("order") == 6, "all of them ran")
        expected = [f"{way} {priority}" for priority in (0, 4, 9) for way in ("enqueue", "celery")]
        assert connection.lrange("order", 0, -1) == expected
    app.control.cancel_consumer("later", destination=["stock@here"])


def test_stamps_travel(app: Celery) -> None:
    signature = named(app, "see")
    signature.stamp(colour="red")
    assert signature.apply_async().get(PATIENCE)["stamps"] == {"colour": "red"}


def test_the_stock_worker_is_one(app: Celery) -> None:
    assert named(app, "transport").apply_async().get(PATIENCE) == "kombu.transport.redis"
