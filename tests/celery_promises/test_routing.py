"""Queues, routing and priorities"""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Exchange, Queue

from tests.celery_promises import jobs
from tests.celery_promises.scenarios import life
from tests.celery_promises.system import System

PATIENCE = 10
PRIORITIES = (9, 4, 0, 7, 2, 5, 8, 1, 3, 6)


@pytest.fixture
def declared(system: System) -> Iterator[dict[str, Any]]:
    """The producer's declared queues; what a test adds is removed."""
    queues = system.app.amqp.queues
    before = dict(queues)
    yield queues
    for name in set(queues) - set(before):
        del queues[name]


def queue_of(result: Any) -> Any:
    return result.get(timeout=PATIENCE)["delivery_info"]["routing_key"]


def test_default_queue(system: System) -> None:
    """A task goes to the queue `celery` unless something says otherwise."""
    assert queue_of(jobs.context.delay()) == "celery"


def test_queue_of_a_call(system: System) -> None:
    """`apply_async(queue=…)` chooses the queue."""
    assert queue_of(jobs.context.apply_async(queue="lane")) == "lane"


def test_route_by_name(system: System) -> None:
    """`task_routes` sends a task to its queue by name."""
    result = jobs.routed_by_name.delay()
    result.get(timeout=PATIENCE)
    assert result.queue == "side"


def test_route_by_pattern(system: System) -> None:
    """`task_routes` takes patterns."""
    result = jobs.routed_by_glob_pattern.delay()
    result.get(timeout=PATIENCE)
    assert result.queue == "side"


def test_call_beats_route(system: System) -> None:
    """A queue chosen at the call is stronger than a route."""
    result = jobs.routed_by_name.apply_async(queue="lane")
    result.get(timeout=PATIENCE)
    assert result.queue == "lane"


def test_queues_of_a_worker(system: System, key: str) -> None:
    """`worker -Q` consumes from these queues and no others."""
    worker = system.once(life)
    assert worker.queues == [worker.queue]
    waiting = jobs.add.apply_async((1, 1), queue=f"other_{key}")
    assert jobs.add.delay(2, 2).get(timeout=PATIENCE) == 4
    assert waiting.state == "PENDING"
    assert system.depth(f"other_{key}") == 1


def test_missing_queue(system: System, key: str) -> None:
    """A queue that nobody declared is made when it is first used, and keeps its messages."""
    jobs.add.apply_async((1, 1), queue=f"new_{key}")
    assert system.depth(f"new_{key}") == 1


def test_exchange(system: System, key: str, declared: dict[str, Any]) -> None:
    """`exchange` and `routing_key` of a call reach the queues that are bound so."""
    name = f"direct_{key}"
    queue = Queue(name, Exchange(f"exchange_{key}"), routing_key="here")
    declared[name] = queue
    with system.app.connection_for_write() as connection:
        queue(connection.default_channel).declare()
        jobs.add.apply_async((1, 1), exchange=f"exchange_{key}", routing_key="here", connection=connection)
        jobs.add.apply_async((1, 1), exchange=f"exchange_{key}", routing_key="elsewhere", connection=connection)
    assert system.depth(name) == 1


def test_topic_exchange(system: System, key: str) -> None:
    """A topic exchange routes by pattern, to every queue that matches."""
    exchange = Exchange(f"topics_{key}", type="topic")
    queues = [Queue(f"{key}_{name}", exchange, routing_key=name) for name in ("news.#", "*.sport", "weather")]
    with system.app.connection_for_write() as connection:
        for queue in queues:
            queue(connection.default_channel).declare()
        jobs.add.apply_async(
            (1, 1), exchange=f"topics_{key}", exchange_type="topic", routing_key="news.sport", connection=connection
        )
    assert [system.depth(queue.name) for queue in queues] == [1, 1, 0]


def test_broadcast(system: System, key: str) -> None:
    """A `Broadcast` queue delivers a copy of each message to every worker that consumes from it.

    Celery leaves declaring the exchange to the producer.
    """
    jobs.note.apply_async((key,), queue="everyone", declare=[Exchange("everyone", type="fanout")])
    assert len({note["pid"] for note in system.noted(key, 2)}) == 2


def backlog(system: System) -> dict[str, list[int]]:
    """Two queues that were filled before a worker with one child came, and the order in which it ran them."""
    keys = {name: f"{name}_{uuid.uuid4().hex[:8]}" for name in ("priorities", "order")}
    for priority in PRIORITIES:
        jobs.note.apply_async((keys["priorities"], priority), queue=keys["priorities"], priority=priority)
    for number in range(40):
        jobs.note.apply_async((keys["order"], number), queue=keys["order"])
    with system.worker_beside("-Q", ",".join(keys.values())):
        ran = {"priorities": system.noted(keys["priorities"], 10), "order": system.noted(keys["order"], 40)}
    return {name: [note["text"] for note in notes] for name, notes in ran.items()}


def test_priorities(system: System) -> None:
    """Waiting tasks with the smaller priority number start first, in steps of 0 to 2, 3 to 5, 6 to 8, and 9."""
    assert system.once(backlog)["priorities"] == sorted(PRIORITIES, key=lambda priority: priority // 3)


def test_order(system: System) -> None:
    """Tasks of one queue and priority start in the order in which they were sent."""
    assert system.once(backlog)["order"] == list(range(40))


def test_priority_in_the_request(system: System) -> None:
    """A task can read its priority, and the queue that it came from."""
    info = jobs.context.apply_async(priority=6, queue="side").get(timeout=PATIENCE)["delivery_info"]
    assert (info["priority"], info["routing_key"]) == (6, "side")


def test_default_priority(system: System) -> None:
    """The priority is 0 unless something says otherwise."""
    assert jobs.context.delay().get(timeout=PATIENCE)["delivery_info"]["priority"] == 0


def test_shared_queue(system: System, key: str) -> None:
    """Two workers on one queue share its tasks: each runs once."""
    queue = f"shared_{key}"
    for worker in (system.main, system.lane):
        system.control("add_consumer", worker=worker, queue=queue)
    # More than either of them takes while nothing ends.
    results = [jobs.place.apply_async((key,), queue=queue) for _ in range(12)]
    system.noted(key, 4)
    system.release(key, 12)
    places = {result.get(timeout=PATIENCE) for result in results}
    for worker in (system.main, system.lane):
        system.control("cancel_consumer", worker=worker, queue=queue)
    assert places == {system.main, system.lane}
    assert len(set(system.notes_on(key))) == len(system.notes_on(key)) == 12
