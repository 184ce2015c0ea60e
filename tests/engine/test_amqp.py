"""Celery's own publishing through our connections: the same message, signals, routing and errors, in one round trip."""

import hashlib
import inspect
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis
from celery import Celery, Task, group, shared_task, signals
from celery.app.amqp import AMQP as CelerysAMQP
from kombu import Connection, Exchange, Producer, Queue
from kombu.common import Broadcast
from kombu.exceptions import OperationalError

from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts
from penstock.message import ENQUEUED_AT
from tests.faults.proxy import Proxy

SILENT_PORT = 1


def add(left: Any, right: Any) -> Any:
    return left + right


class Loud(Task):
    """A base class as applications write them."""

    priority = 6

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        return super().apply_async(args, kwargs, headers={"loud": "yes"}, **options)


def shout(left: Any, right: Any) -> None: ...


# Not as decorators: what those leave in a module finalizes Celery's default app as soon as somebody looks at it, and
# pytest looks at everything. Modules collected later could then declare no shared tasks.
shared_task(name="tests.amqp.add")(add)
shared_task(name="tests.amqp.loud", base=Loud)(shout)


@pytest.fixture
def app(broker_url: str) -> Iterator[Celery]:
    """A plain Celery application, whose tasks go our way."""
    made = Celery("tests.amqp", broker=broker_url, set_as_current=False)
    made.amqp_cls = "penstock.engine.amqp:AMQP"
    yield made
    made.close()


@pytest.fixture
def stock(broker_url: str) -> Iterator[Celery]:
    """The same, as Celery sends."""
    made = Celery("tests.stock", broker=broker_url, set_as_current=False)
    yield made
    made.close()


def waiting(broker: redis.Redis, key: str = "celery") -> dict[str, Any]:
    """The only message on a list."""
    (raw,) = broker.lrange(key, 0, -1)  # type: ignore[misc]
    message: dict[str, Any] = json.loads(raw)
    return message


def is_ours(message: dict[str, Any]) -> bool:
    return message["properties"]["body_encoding"] == "utf-8"


def test_a_plain_send_takes_one_command_on_one_connection(app: Celery, broker: redis.Redis) -> None:
    others = producers_of(broker)
    app.tasks["tests.amqp.add"].delay(0, 0)
    before = broker.info("commandstats")
    for number in range(10):
        app.tasks["tests.amqp.add"].delay(number, 2)
    after = broker.info("commandstats")
    calls = {name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after}
    of_the_script = {"get", "set", "sadd", "time", "lpush", "zadd", "llen", "hincrby"}
    sent = {name.removeprefix("cmdstat_"): count for name, count in calls.items() if count}
    assert {name: count for name, count in sent.items() if name not in of_the_script} == {"evalsha": 10, "info": 1}
    assert len(producers_of(broker) - others) == 1
    assert app.amqp._producer_pool is None


def producers_of(broker: redis.Redis) -> set[str]:
    """Ids of the connections through which somebody publishes."""
    connections: Any = broker.client_list()
    return {each["id"] for each in connections if each["name"] == "producer"}


def test_a_plain_send_is_read_as_celerys_own(app: Celery, stock: Celery, broker: redis.Redis) -> None:
    options: dict[str, Any] = {
        "task_id": "1",
        "priority": 3,
        "headers": {"mine": 1},
        "expires": datetime(2040, 1, 1, tzinfo=UTC),
        "eta": datetime(2030, 1, 1, tzinfo=UTC),
        "time_limit": 5,
        "reply_to": "somebody",
        "ignore_result": True,
    }
    key = "celery\x06\x163"
    seen = []
    for each in (app, stock):
        each.tasks["tests.amqp.add"].apply_async((1, Decimal("2.5")), **options)
        with each.connection_for_read() as connection:
            message = connection.default_channel.basic_get("celery", no_ack=True)
            assert message is not None
            seen.append(message)
        assert broker.llen(key) == 0
    ours, theirs = seen
    empty = (None, 0, [None, None], {})
    assert {name: value for name, value in theirs.headers.items() if value not in empty and name != ENQUEUED_AT} == {
        name: value for name, value in ours.headers.items() if name != ENQUEUED_AT
    }
    assert ours.decode()[:2] == theirs.decode()[:2] == [[1, Decimal("2.5")], {}]
    assert ours.delivery_info == theirs.delivery_info
    left_out = {"delivery_mode", "delivery_tag", "body_encoding", "expiration"}
    assert {name: ours.properties.get(name) for name in theirs.properties if name not in left_out} == {
        name: value for name, value in theirs.properties.items() if name not in left_out
    }


def test_every_message_has_the_time_of_its_submission(app: Celery, broker: redis.Redis) -> None:
    app.tasks["tests.amqp.add"].delay(1, 2)
    sent = datetime.fromisoformat(waiting(broker)["headers"][ENQUEUED_AT])
    assert timedelta() <= datetime.now(UTC) - sent < timedelta(seconds=10)
    broker.flushdb()
    app.tasks["tests.amqp.add"].apply_async((1, 2), headers={ENQUEUED_AT: "before"})
    assert waiting(broker)["headers"][ENQUEUED_AT] == "before"


def test_a_waiting_job_is_in_the_index(app: Celery, broker: redis.Redis) -> None:
    id = app.tasks["tests.amqp.add"].delay(1, 2).id
    assert broker.zrange(Keys().waiting("celery"), 0, -1) == [id]


def test_a_job_for_later_is_parked_while_a_worker_of_ours_lives(app: Celery, broker: redis.Redis) -> None:
    Scripts(broker, Keys()).join("w/1")
    app.tasks["tests.amqp.add"].apply_async((1, 2), countdown=60)
    app.tasks["tests.amqp.add"].apply_async((1, 2), eta=datetime.now() + timedelta(hours=30))
    app.tasks["tests.amqp.add"].apply_async((1, 2), eta=datetime(2000, 1, 1, tzinfo=UTC))
    due = [score / 1000 - time.time() for _, score in broker.zrange(Keys().parked("celery"), 0, -1, withscores=True)]
    assert 50 < due[0] <= 60
    assert 3600 < due[1] <= 3600 * 60
    assert broker.llen("celery") == 1


def test_a_task_with_a_base_of_its_own_goes_our_way(app: Celery, broker: redis.Redis) -> None:
    app.tasks["tests.amqp.loud"].delay(1, 2)
    message = waiting(broker, "celery\x06\x166")
    assert is_ours(message)
    assert message["headers"]["loud"] == "yes"


def test_routes_are_celerys(app: Celery, broker: redis.Redis) -> None:
    app.conf.task_routes = {"tests.amqp.*": {"queue": "routed", "priority": 9}}
    app.tasks["tests.amqp.add"].delay(1, 2)
    app.tasks["tests.amqp.add"].apply_async((1, 2), queue="chosen", priority=0)
    app.tasks["tests.amqp.add"].apply_async((1, 2), queue=Queue("given"))
    for key in ("routed\x06\x169", "chosen", "given\x06\x169"):
        assert is_ours(waiting(broker, key))


def test_a_send_that_names_its_queue_goes_our_way(app: Celery, broker: redis.Redis) -> None:
    """As each retry does: what goes Celery's way is sent at once, and not with the outcome that it is part of."""
    app.tasks["tests.amqp.add"].apply_async((1, 2), queue="named")
    assert is_ours(waiting(broker, "named"))


def test_a_prefix_for_all_keys_is_kept(app: Celery, broker: redis.Redis) -> None:
    app.conf.broker_transport_options = {"global_keyprefix": "app.", "priority_steps": [0, 3, 6, 9]}
    app.tasks["tests.amqp.add"].delay(1, 2)
    assert is_ours(waiting(broker, "app.celery"))


def pickled(app: Celery) -> None:
    app.tasks["tests.amqp.add"].apply_async((1, 2), serializer="pickle")


def compressed(app: Celery) -> None:
    app.tasks["tests.amqp.add"].apply_async((1, 2), compression="zlib")


def through_an_exchange(app: Celery) -> None:
    exchange = Exchange("place", type="topic")
    queue = Queue("topical", exchange, routing_key="a.#")
    app.tasks["tests.amqp.add"].apply_async((1, 2), exchange=exchange, routing_key="a.b", declare=[queue])


def with_their_own_connection(app: Celery) -> None:
    with Connection(app.conf.broker_url) as connection:
        app.tasks["tests.amqp.add"].apply_async((1, 2), connection=connection)


def with_their_own_producer(app: Celery) -> None:
    with Connection(app.conf.broker_url) as connection:
        app.tasks["tests.amqp.add"].apply_async((1, 2), producer=Producer(connection))


def to_a_queue_that_expires(app: Celery) -> None:
    app.tasks["tests.amqp.add"].apply_async((1, 2), queue=Queue("celery", expires=60))


def in_protocol_1(app: Celery) -> None:
    app.conf.task_protocol = 1
    app.tasks["tests.amqp.add"].delay(1, 2)


def with_another_separator(app: Celery) -> None:
    app.conf.broker_transport_options = {"sep": ":"}
    app.tasks["tests.amqp.add"].delay(1, 2)


@pytest.mark.parametrize(
    "send",
    [
        pickled,
        compressed,
        through_an_exchange,
        with_their_own_connection,
        with_their_own_producer,
        to_a_queue_that_expires,
        in_protocol_1,
        with_another_separator,
    ],
)
def test_what_is_not_plain_goes_celerys_way(app: Celery, broker: redis.Redis, send: Callable[[Celery], None]) -> None:
    send(app)
    # Not under the name of another test's queue: kombu declares each name once per connection.
    assert not is_ours(waiting(broker, "topical" if send is through_an_exchange else "celery"))


def test_a_broadcast_goes_celerys_way(app: Celery, broker: redis.Redis) -> None:
    everyone, listener = Broadcast("everyone"), broker.pubsub()
    listener.psubscribe("*everyone*")
    assert listener.get_message(timeout=5) is not None
    with app.producer_pool.acquire() as producer:
        everyone.exchange(producer.channel).declare()
    app.tasks["tests.amqp.add"].apply_async((1, 2), queue=everyone)
    heard: Any = listener.get_message(timeout=5)
    assert not is_ours(json.loads(heard["data"]))


def test_another_broker_is_served_by_celery() -> None:
    app = Celery("tests.memory", broker="memory://", set_as_current=False)
    app.amqp_cls = "penstock.engine.amqp:AMQP"
    app.tasks["tests.amqp.add"].delay(1, 2)
    with app.connection_for_read() as connection:
        assert connection.default_channel.basic_get("celery", no_ack=True).decode()[0] == [1, 2]


def test_an_eager_task_runs_here(app: Celery, broker: redis.Redis) -> None:
    app.conf.task_always_eager = True
    assert app.tasks["tests.amqp.add"].delay(1, 2).get() == 3
    assert broker.dbsize() == 0


def test_a_group_shares_what_it_was_given(app: Celery, broker: redis.Redis) -> None:
    made = group(app.tasks["tests.amqp.add"].s(number, 0) for number in range(3)).apply_async()
    raws: Any = broker.lrange("celery", 0, -1)
    headers = [json.loads(raw)["headers"] for raw in reversed(raws)]
    assert [each["group"] for each in headers] == [made.id] * 3
    assert [each.get("group_index", 0) for each in headers] == [0, 1, 2]
    assert all(is_ours(json.loads(raw)) for raw in raws)


_seen: list[Any] = []


def note_before(sender: Any = None, headers: Any = None, properties: Any = None, body: Any = None, **rest: Any) -> None:
    headers["traceparent"] = "00-1"
    properties["priority"] = 9
    _seen.append(("before", sender, body[0], rest["routing_key"], [queue.name for queue in rest["declare"]]))


def note_after(sender: Any = None, headers: Any = None, **rest: Any) -> None:
    _seen.append(("after", sender, headers["id"], rest["exchange"], rest["routing_key"]))


def note_sent(task_id: Any = None, eta: Any = "absent", **rest: Any) -> None:
    _seen.append(("sent", task_id, eta, rest["args"]))


def test_celerys_signals_are_sent_and_their_changes_kept(app: Celery, broker: redis.Redis) -> None:
    _seen.clear()
    listeners = {
        signals.before_task_publish: note_before,
        signals.after_task_publish: note_after,
        signals.task_sent: note_sent,
    }
    for signal, listener in listeners.items():
        signal.connect(listener)
    id = app.tasks["tests.amqp.add"].delay(1, 2).id
    for signal, listener in listeners.items():
        signal.disconnect(listener)
    assert _seen == [
        ("before", "tests.amqp.add", (1, 2), "celery", ["celery"]),
        ("after", "tests.amqp.add", id, "", "celery"),
        ("sent", id, None, (1, 2)),
    ]
    message = waiting(broker, "celery\x06\x169")
    assert message["headers"]["traceparent"] == "00-1"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"global_keyprefix": "app."},
        {"fanout_prefix": "/mine."},
        {"fanout_patterns": False},
        {"fanout_prefix": False},
    ],
    ids=str,
)
def test_the_event_of_a_sent_task_reaches_celerys_receiver(
    app: Celery, broker: redis.Redis, options: dict[str, Any]
) -> None:
    app.conf.task_send_sent_event = True
    app.conf.broker_transport_options = options
    heard: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": heard.append})
        with receiver.consumer_context(wakeup=False) as (its_own, _, _):
            with suppress(TimeoutError):
                its_own.drain_events(timeout=0.2)
            id = app.tasks["tests.amqp.add"].delay(1, 2).id
            its_own.drain_events(timeout=5)
    (event,) = heard
    assert (event["type"], event["uuid"], event["queue"], event["args"]) == ("task-sent", id, "celery", "(1, 2)")
    assert (event["exchange"], event["routing_key"]) == ("", "celery")
    assert event["hostname"].startswith("gen")


@pytest.mark.parametrize("options", [{}, {"retry": False}, {"retry_policy": {"max_retries": None}}], ids=str)
def test_a_redis_that_is_down_is_celerys_own_error_in_bounded_time(options: dict[str, Any]) -> None:
    app = Celery("tests.down", broker=f"redis://:geheim@127.0.0.1:{SILENT_PORT}/0", set_as_current=False)
    app.amqp_cls = "penstock.engine.amqp:AMQP"
    started = time.monotonic()
    with pytest.raises(OperationalError, match="start it or correct REDIS_URL") as raised:
        app.tasks["tests.amqp.add"].apply_async((1, 2), **options)
    assert time.monotonic() - started < (6 if "retry_policy" in options else 2)
    assert "geheim" not in str(raised.value)


def test_a_reply_that_was_lost_makes_one_job(broker_url: str, broker: redis.Redis) -> None:
    host, _, database = broker_url.split("://")[1].partition("/")
    with Proxy(int(host.rsplit(":", 1)[1])) as proxy:
        app = Celery("tests.lost", broker=f"redis://127.0.0.1:{proxy.port}/{database}", set_as_current=False)
        app.amqp_cls = "penstock.engine.amqp:AMQP"
        app.tasks["tests.amqp.add"].delay(0, 0)
        for retry in (True, False):
            broker.flushdb()
            proxy.dropped.clear()
            proxy.drop_reply_to("EVAL", "tests.amqp.add")
            app.tasks["tests.amqp.add"].apply_async((1, 2), retry=retry)
            assert proxy.dropped.is_set()
            assert waiting(broker)["headers"]["task"] == "tests.amqp.add"


def test_a_forked_child_sends_through_a_connection_of_its_own(app: Celery, broker: redis.Redis) -> None:
    task = app.tasks["tests.amqp.add"]
    task.delay(0, 0)
    if (pid := os.fork()) == 0:
        for number in range(50):
            task.delay(number, 0)
        os._exit(0)
    for number in range(50):
        task.delay(number, 0)
    assert os.waitpid(pid, 0)[1] == 0
    assert broker.llen("celery") == 101


def test_a_waiting_job_takes_no_more_memory_than_kombus(app: Celery, stock: Celery, broker: redis.Redis) -> None:
    def taken(sender: Celery) -> int:
        broker.flushdb()
        for number in range(1000):
            sender.tasks["tests.amqp.add"].delay(number, 2)
        return sum(int(str(broker.memory_usage(key, samples=0) or 0)) for key in broker.scan_iter())

    assert taken(app) <= taken(stock)


def test_remote_control_and_events_use_celerys_own_connections(app: Celery, broker: redis.Redis) -> None:
    assert app.control.ping(timeout=0.1) == []
    with app.events.default_dispatcher() as dispatcher:
        dispatcher.send("task-sent", uuid="1")


def test_celerys_sender_is_still_the_one_that_ours_does_the_work_of() -> None:
    """A new Celery may send something more: read the changes, teach them to ``penstock.engine.amqp``, note the sum."""
    source = inspect.getsource(CelerysAMQP._create_task_sender) + inspect.getsource(CelerysAMQP.as_task_v2)
    assert hashlib.sha256(source.encode()).hexdigest()[:8] == "2832b44a"
