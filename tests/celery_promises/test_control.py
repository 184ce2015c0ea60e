"""Remote control and inspection"""

import itertools
from typing import Any

from tests.celery_promises import jobs
from tests.celery_promises.differences import differs
from tests.celery_promises.scenarios import life
from tests.celery_promises.system import System
from tests.live import wait_for

PATIENCE = 10


def names(listed: list[dict[str, Any]]) -> list[str]:
    return [found["name"] for found in listed]


def ids(listed: list[dict[str, Any]]) -> list[str]:
    return [(found.get("request") or found)["id"] for found in listed]


def test_ping(system: System) -> None:
    """`control.ping()` is answered by every worker."""
    replies = system.app.control.ping(timeout=5, limit=2)
    assert sorted(replies, key=str) == [{system.lane: {"ok": "pong"}}, {system.main: {"ok": "pong"}}]


def test_inspect_ping(system: System) -> None:
    """`inspect ping` asks one worker."""
    assert system.inspect("ping") == {"ok": "pong"}


def test_destination(system: System) -> None:
    """`destination` chooses who is asked."""
    assert system.app.control.ping(destination=[system.lane], timeout=2, limit=1) == [{system.lane: {"ok": "pong"}}]


def test_pattern(system: System) -> None:
    """`pattern` and `matcher` choose by name."""
    replies = system.app.control.inspect(pattern="lane@*", matcher="glob", timeout=5, limit=1).ping()
    assert list(replies) == [system.lane]


def test_nobody(system: System) -> None:
    """Where nobody answers there are no replies after the timeout."""
    assert system.app.control.ping(destination=["nobody@nowhere"], timeout=0.2) == []


def test_active(system: System, key: str) -> None:
    """`inspect active` lists running tasks with id, name, arguments, start, process and delivery."""
    result = jobs.hold.delay(key)
    (note,) = system.noted(key)

    def mine() -> list[dict[str, Any]]:
        return [found for found in system.inspect("active") if found["id"] == result.id]

    found = wait_for(mine, "active")[0]
    assert (found["name"], found["args"], found["worker_pid"]) == (jobs.hold.name, [key], note["pid"])
    assert found["delivery_info"]["routing_key"] == "celery"
    assert found["acknowledged"] is (not system.engine.uses_penstock)
    assert found["time_start"]
    system.release(key)
    result.get(timeout=PATIENCE)
    wait_for(lambda: not mine(), "no longer active")


@differs(engine="lists none for long: what waits behind a job that runs goes back to its queue, for whoever is free")
def test_reserved(system: System, key: str) -> None:
    """`inspect reserved` lists what a worker has taken and not started."""
    running = jobs.hold.apply_async((key,), queue="lane")
    system.noted(key)
    waiting = [jobs.note.apply_async((f"{key}-{i}",), queue="lane") for i in range(2)]
    expected = {result.id for result in waiting}
    if not system.engine.takes_ahead:
        wait_for(lambda: system.depth("lane") == 2, "they wait in their queue")
        expected = set()
    wait_for(lambda: expected <= set(ids(system.inspect("reserved", worker=system.lane))), "reserved")
    assert running.id in ids(system.inspect("active", worker=system.lane))
    system.release(key)
    for result in waiting:
        result.get(timeout=PATIENCE)


@differs(
    penstock="lists none, because they wait in Redis and belong to no worker until they are due; "
    "`queues list` counts them as parked"
)
def test_scheduled(system: System) -> None:
    """`inspect scheduled` lists tasks that wait for their time, with it."""
    result = jobs.add.apply_async((1, 1), countdown=60)

    def mine() -> list[dict[str, Any]]:
        return [found for found in system.inspect("scheduled") if found["request"]["id"] == result.id]

    if system.engine.uses_penstock:
        parked = system.broker.zrange("penstock:parked:celery", 0, -1)
        assert any(result.id in str(message) for message in parked)
        assert mine() == []
    else:
        found = wait_for(mine, "scheduled")[0]
        assert found["eta"]
        assert found["request"]["name"] == jobs.add.name
    result.revoke()


def test_registered(system: System) -> None:
    """`inspect registered` lists a worker's tasks, with attributes where asked for."""
    assert {jobs.add.name, "promises.a_name_of_its_own"} <= set(system.inspect("registered"))
    assert f"{jobs.at_most_four_a_second.name} [rate_limit=4/s]" in system.inspect("registered", "rate_limit")


def test_active_queues(system: System) -> None:
    """`inspect active_queues` lists the queues that a worker consumes from."""
    assert names(system.inspect("active_queues", worker=system.lane))[0] == "lane"
    assert names(system.inspect("active_queues"))[:2] == ["celery", "side"]


def test_description_of_queues(system: System) -> None:
    """It tells each queue's exchange and routing key."""
    (found, *_) = system.inspect("active_queues", worker=system.lane)
    assert (found["name"], found["exchange"]["name"], found["routing_key"]) == ("lane", "lane", "lane")


def test_stats(system: System) -> None:
    """`inspect stats` tells process, pool, broker, prefetch count and how many tasks ran."""
    jobs.add.delay(1, 1).get(timeout=PATIENCE)
    wait_for(lambda: system.inspect("stats")["total"].get(jobs.add.name, 0) >= 1, "it is counted")
    stats = system.inspect("stats")
    assert stats["pid"] == system.worker.pid
    assert stats["pool"]["max-concurrency"] == len(stats["pool"]["processes"]) == 3
    assert stats["prefetch_count"] >= 3
    assert (stats["broker"]["transport"], stats["broker"]["hostname"]) == ("redis", "127.0.0.1")


def test_conf(system: System) -> None:
    """`inspect conf` shows a worker's settings."""
    assert system.inspect("conf")["timezone"] == "America/New_York"


def test_passwords(system: System) -> None:
    """It hides passwords and keys, and lists the defaults too where asked for."""
    assert "task_time_limit" not in system.inspect("conf")
    with_defaults = system.inspect("conf", True)
    assert with_defaults["task_time_limit"] is None
    assert with_defaults["security_key_password"] == "********"


def test_query_task(system: System, key: str) -> None:
    """`inspect query_task` tells whether a worker has a task, and in which state."""
    result = jobs.hold.delay(key)
    system.noted(key)
    wait_for(lambda: system.inspect("query_task", result.id).get(result.id, [""])[0] == "active", "active")
    assert system.inspect("query_task", "unheard of") == {}
    system.release(key)
    result.get(timeout=PATIENCE)


@differs(engine="knows it no more than any other worker: it waits in its queue, where `jobs show` finds it")
def test_query_waiting_task(system: System, key: str) -> None:
    """It tells of a task that a worker has taken and not started that it is reserved, and answers for several."""
    running = jobs.hold.apply_async((key,), queue="lane")
    system.noted(key)
    waiting = jobs.add.apply_async((1, 1), queue="lane")

    def states() -> dict[str, str]:
        answer = system.inspect("query_task", running.id, waiting.id, worker=system.lane)
        return {id: found[0] for id, found in answer.items()}

    expected = {running.id: "active", **({waiting.id: "reserved"} if system.engine.takes_ahead else {})}
    wait_for(lambda: states() == expected, "active and reserved")
    system.release(key)
    assert waiting.get(timeout=PATIENCE) == 2


def test_report(system: System) -> None:
    """`inspect report` describes software and settings."""
    assert "celery:5.7.0" in system.inspect("report")["ok"]


def test_clock(system: System) -> None:
    """`inspect clock` tells the logical clock, which only goes forward."""
    first = system.inspect("clock")["clock"]
    assert system.inspect("clock")["clock"] > first


def test_add_consumer(system: System, key: str) -> None:
    """`control add_consumer` has a worker consume from another queue, `cancel_consumer` ends it."""
    queue = f"added_{key}"
    waiting = jobs.add.apply_async((1, 1), queue=queue)
    assert system.control("add_consumer", queue=queue) == {"ok": f"add consumer {queue}"}
    assert waiting.get(timeout=PATIENCE) == 2
    assert queue in names(system.inspect("active_queues"))
    assert system.control("cancel_consumer", queue=queue) == {"ok": f"no longer consuming from {queue}"}
    # The answer comes before the deed.
    wait_for(lambda: queue not in names(system.inspect("active_queues")), "the queue is left")


def test_cancel_consumer(system: System, key: str) -> None:
    """After `cancel_consumer` new messages stay in their queue, and other queues go on."""
    queue = f"cancelled_{key}"
    system.control("add_consumer", queue=queue)
    system.control("cancel_consumer", queue=queue)
    wait_for(lambda: queue not in names(system.inspect("active_queues")), "the queue is left")
    # A blocking pop that had begun before may still take one message.
    results = [jobs.note.apply_async((key,), queue=queue) for _ in range(3)]
    assert jobs.add.delay(1, 1).get(timeout=PATIENCE) == 2
    assert system.depth(queue) >= 2
    system.control("add_consumer", queue=queue)
    for result in results:
        result.get(timeout=PATIENCE)
    system.control("cancel_consumer", queue=queue)
    assert len(system.notes_on(key)) == 3


def test_pool_size(system: System) -> None:
    """`control pool_grow` adds processes, `pool_shrink` ends some."""

    def processes() -> int:
        return len(system.inspect("stats")["pool"]["processes"])

    system.control("pool_grow", n=2)
    wait_for(lambda: processes() == 5, "five processes")
    system.control("pool_shrink", n=2)
    wait_for(lambda: processes() == 3, "three processes")
    assert jobs.add.delay(1, 1).get(timeout=PATIENCE) == 2


def test_autoscale(system: System, key: str) -> None:
    """`worker --autoscale` grows the pool when there is work."""
    with system.worker_beside("--autoscale", "2,1") as extra:
        results = [jobs.hold.apply_async((key,), queue=extra.queue) for _ in range(2)]
        assert len({note["pid"] for note in system.noted(key, 2)}) == 2
        system.release(key, 2)
        for result in results:
            result.get(timeout=PATIENCE)
        assert system.control("autoscale", worker=extra.name, max=3, min=2) == {"ok": "autoscale now max=3 min=2"}


def test_autoscale_down(system: System, key: str) -> None:
    """`control autoscale` shrinks a pool that is larger than the new maximum, and `pool_grow` is refused there."""
    with system.worker_beside("--autoscale", "3,3") as extra:

        def processes() -> int:
            return len(system.inspect("stats", worker=extra.name)["pool"]["processes"])

        wait_for(lambda: processes() == 3, "three processes")
        assert "error" in system.control("pool_grow", worker=extra.name, n=1)
        assert "ok" in system.control("autoscale", worker=extra.name, max=1, min=1)
        wait_for(lambda: processes() == 1, "one process")
        assert system.inspect("stats", worker=extra.name)["autoscaler"]["max"] == 1
        assert jobs.add.apply_async((1, 1), queue=extra.queue).get(timeout=PATIENCE) == 2


def test_pool_restart(system: System) -> None:
    """`control pool_restart` replaces all processes."""
    before = jobs.process_id.apply_async(queue="lane").get(timeout=PATIENCE)
    system.control("pool_restart", worker=system.lane)
    assert jobs.process_id.apply_async(queue="lane").get(timeout=PATIENCE) != before


def test_rate_limit(system: System, key: str) -> None:
    """A task's `rate_limit` spreads its starts over time; other tasks do not wait for it."""
    for _ in range(4):
        jobs.at_most_four_a_second.delay(key)
    assert jobs.add.delay(1, 1).get(timeout=PATIENCE) == 2
    starts = system.noted(key, 4)
    assert all(0.2 < later - earlier < 1 for earlier, later in itertools.pairwise(starts))


def test_rate_limit_by_remote_control(system: System, key: str) -> None:
    """`control rate_limit` sets a limit while the worker runs, and 0 removes it."""
    name = jobs.without_rate_limit.name
    assert system.control("rate_limit", task_name=name, rate_limit="5/s") == {"ok": "new rate limit set successfully"}
    for _ in range(3):
        jobs.without_rate_limit.delay(key)
    starts = system.noted(key, 3)
    assert all(0.15 < later - earlier < 1 for earlier, later in itertools.pairwise(starts))
    assert "disabled" in system.control("rate_limit", task_name=name, rate_limit=0)["ok"]
    for _ in range(5):
        jobs.without_rate_limit.delay(f"{key}-free")
    starts = system.noted(f"{key}-free", 5)
    assert starts[-1] - starts[0] < 0.8


def test_wrong_rate_limit(system: System) -> None:
    """A rate limit that cannot be read, or of a task that is not known, is refused with an error."""
    assert "error" in system.control("rate_limit", task_name=jobs.add.name, rate_limit="often")
    assert system.control("rate_limit", task_name="unheard.of", rate_limit="1/s") == {"error": "unknown task"}


def test_events(system: System) -> None:
    """`control enable_events` and `disable_events` start and stop a worker's events about tasks."""
    with system.worker_beside(events=False) as extra:
        assert system.control("enable_events", worker=extra.name) == {"ok": "task events enabled"}
        loud = jobs.add.apply_async((1, 1), queue=extra.queue)
        system.event("task-succeeded", uuid=loud.id)
        assert system.control("disable_events", worker=extra.name) == {"ok": "task events disabled"}
        quiet = jobs.add.apply_async((1, 1), queue=extra.queue)
        quiet.get(timeout=PATIENCE)
        system.control("heartbeat", worker=extra.name)
        assert {event["type"] for event in system.events(quiet.id)} <= {"task-sent"}


def test_heartbeat(system: System) -> None:
    """`control heartbeat` has a worker send a heartbeat event now."""
    before = len([event for event in system.events() if event["type"] == "worker-heartbeat"])
    system.app.control.heartbeat(destination=[system.main])
    wait_for(
        lambda: len([event for event in system.events() if event["type"] == "worker-heartbeat"]) > before,
        "heartbeat",
        1,
    )


def test_wrong_time_limit(system: System) -> None:
    """A time limit of a task that is not known is refused with an error."""
    assert system.control("time_limit", task_name="unheard.of", soft=1, hard=2) == {"error": "unknown task"}


def test_events_twice(system: System) -> None:
    """`enable_events` of a worker that sends them already says so."""
    assert system.control("enable_events") == {"ok": "task events already enabled"}


def test_revoke_by_command(system: System, key: str) -> None:
    """`control revoke` and `terminate` answer with what they did, `terminate` with the tasks that it found."""
    assert "flagged as revoked" in system.control("revoke", task_id=[key])["ok"]
    assert system.control("terminate", task_id=[key], signal="TERM") == {"ok": "terminate: tasks unknown"}
    result = jobs.hold.delay(key)
    system.noted(key)
    assert system.control("terminate", task_id=[result.id], signal="TERM") == {"ok": f"terminate: {result.id}"}
    assert system.signal(result.id, "task_revoked")["terminated"] is True


def test_custom_command(system: System) -> None:
    """An application's own control commands are answered."""
    assert system.control("chirp", times=2) == {"ok": "chirp chirp "}


def test_unknown_command(system: System) -> None:
    """A command that is not known is answered with an error or not at all, and the worker goes on."""
    system.app.control.broadcast("unheard_of", destination=[system.main], reply=True, timeout=0.3)
    assert system.inspect("ping") == {"ok": "pong"}


def test_shutdown(system: System) -> None:
    """`control shutdown` ends a worker, and no other."""
    assert system.once(life).exit_code == 0
    assert system.inspect("ping") == {"ok": "pong"}
