"""Coroutines that submit and ask: whatever the servers do, their loop goes on."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import _state
from sqlalchemy.pool import QueuePool

from penstock import Job, Settings, State, aenqueue_many, as_ended, client
from penstock.app import PenstockApp
from penstock.client import publishing
from penstock.errors import BrokerUnavailable, LedgerUnavailable
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.session import engine_for, writing
from tests import jobs
from tests.client.loops import heartbeat, mute_server
from tests.conftest import deployment, producer
from tests.ledger.making import end_attempt
from tests.live import wait_for
from tests.servers import running

ROOT = Path(__file__).parent.parent.parent
STALL_SECONDS = 1.0
"""Longer than a busy machine holds a loop up, and shorter than any of the client's patience with a server."""


@pytest.fixture
def on_postgresql(broker_url: str, postgresql_url: str, tmp_path: Path) -> Iterator[PenstockApp]:
    """A producer's app on PostgreSQL."""
    with producer(deployment(broker_url, postgresql_url, tmp_path)) as made:
        yield made


def submitted(broker: redis.Redis) -> list[Any]:
    """The first argument of each waiting message, first in line first."""
    raws: Any = broker.lrange("default", 0, -1)
    return [json.loads(json.loads(raw)["body"])[0][0] for raw in reversed(raws)]


def end(job: Job[int], database_url: str, value: int) -> None:
    with writing(database_url) as connection:
        end_attempt(connection, Delivery(id=job.id, task=job.task), Outcome(state=State.SUCCEEDED, result=value))


def test_while_all_servers_are_silent_the_loop_goes_on(app: PenstockApp, settings: Settings) -> None:
    async def ask() -> tuple[float, list[Any]]:
        job: Job[int] = Job("1", "tests.jobs.add")
        async with heartbeat() as heart:
            answers = await asyncio.gather(
                *(jobs.add.aenqueue(number, 2) for number in range(20)),
                aenqueue_many(jobs.add.bind(number, 2) for number in range(20)),
                job.arefresh(),
                job.aresult(timeout=1),
                anext(as_ended([job], timeout=1)),
                return_exceptions=True,
            )
        return heart.longest, answers

    with mute_server() as port:
        urls = {"REDIS_URL": f"redis://127.0.0.1:{port}/0", "DATABASE_URL": f"postgresql://127.0.0.1:{port}/db"}
        client.configure(Settings.load(urls))
        longest, answers = asyncio.run(ask())
    assert longest < STALL_SECONDS
    assert {type(answer) for answer in answers[:21]} == {BrokerUnavailable}
    assert [type(answer) for answer in answers[21:]] == [LedgerUnavailable, TimeoutError, LedgerUnavailable]
    assert "the ledger did not say within 1 s" in str(answers[22])


def test_while_redis_restarts_jobs_are_accepted_and_the_loop_goes_on(app: PenstockApp) -> None:
    async def submit(stack: ExitStack) -> float:
        server = stack.enter_context(running("valkey", tcp=True))
        client.configure(Settings.load({"REDIS_URL": f"redis://127.0.0.1:{server.port}/0"}))
        await jobs.add.aenqueue(0, 0)
        async with heartbeat() as heart:
            server.process.kill()
            server.process.wait()
            waiting = asyncio.gather(*(jobs.add.aenqueue(number, 0) for number in range(50)))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            again = await asyncio.to_thread(
                stack.enter_context, running("valkey", "--port", str(server.port), "--bind", "127.0.0.1")
            )
            assert len({job.id for job in await waiting}) == 50
        with redis.Redis(port=server.port) as connection:
            assert connection.llen("default") == 50
        assert not again.has_ended
        return heart.longest

    with ExitStack() as stack:
        assert asyncio.run(submit(stack)) < STALL_SECONDS


def test_what_is_imported_at_first_use_is_imported_beside_the_loop(environment: dict[str, str]) -> None:
    code = """
import asyncio, json, sys, threading
from importlib.machinery import PathFinder

imported = {}

class Watch:
    @staticmethod
    def find_spec(name, path=None, target=None):
        imported.setdefault(name, threading.current_thread() is threading.main_thread())
        return None

from penstock import Job, as_ended, task

@task()
def note(value: int) -> int:
    return value

async def main():
    sys.meta_path.insert(0, Watch)
    job = Job("1", "note")
    for wait in (anext(as_ended([job], 0.1)), job.aresult(0.1), job.arefresh(), job.awhy(), note.aenqueue(1)):
        try:
            await wait
        except TimeoutError:
            pass

asyncio.run(main())
heavy = ("redis", "kombu", "sqlalchemy", "penstock.ledger", "penstock.broker.publisher", "penstock.broker.hearing")
print(json.dumps([name for name, by_main in imported.items() if by_main and name.startswith(heavy)]))
print(json.dumps(sorted(name for name, by_main in imported.items() if not by_main)))
"""
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    by_loop, beside = map(json.loads, output.splitlines())
    assert by_loop == []
    assert {"kombu", "redis", "sqlalchemy"} <= set(beside)


def test_while_the_pool_of_connections_is_exhausted_the_loop_goes_on(on_postgresql: PenstockApp) -> None:
    engine = engine_for(on_postgresql.settings.database_url)
    pool = engine.pool
    assert isinstance(pool, QueuePool)

    async def ask(made: list[Job[int]]) -> float:
        with ExitStack() as stack:
            for _ in range(11):
                stack.enter_context(engine.connect())
            async with heartbeat() as heart:
                asking = asyncio.gather(*(job.arefresh() for job in made))
                await asyncio.sleep(0.3)
                assert not asking.done()
                stack.close()
                await asking
        return heart.longest

    made = [jobs.add.enqueue(number, 0) for number in range(20)]
    assert asyncio.run(ask(made)) < STALL_SECONDS
    assert {job.state for job in made} == {State.QUEUED}


def hearing(broker: redis.Redis) -> int:
    """Connections that listen for the ends of jobs; those of earlier tests linger."""
    return [each["name"] for each in broker.client_list()].count("hearing")  # type: ignore[union-attr]


def test_a_thousand_coroutines_wait_on_three_connections(on_postgresql: PenstockApp, broker: redis.Redis) -> None:
    url, before = on_postgresql.settings.database_url, hearing(broker)
    most = 0

    async def wait() -> tuple[float, list[int]]:
        nonlocal most
        made = await asyncio.gather(*(jobs.add.aenqueue(number, 0) for number in range(1000)))
        async with heartbeat() as heart:
            waiting = asyncio.gather(*(job.aresult(timeout=30) for job in made))
            await asyncio.sleep(0.5)
            most = engine_for(url).pool.checkedout() + engine_for(url).pool.checkedin()  # type: ignore[attr-defined]
            assert hearing(broker) <= before + 1
            for number, job in enumerate(made[:3]):
                await asyncio.to_thread(end, job, url, number)
            await asyncio.wait([asyncio.ensure_future(job.aresult(timeout=30)) for job in made[:3]])
            waiting.cancel()
        return heart.busiest, [job.row.result for job in made[:3] if job.row]

    busiest, results = asyncio.run(wait())
    assert results == [0, 1, 2]
    assert most <= 2
    assert busiest < STALL_SECONDS
    assert len([thread for thread in threading.enumerate() if thread.name.startswith("penstock")]) <= 9


@pytest.mark.parametrize("id", ["\ud800", "\x00"], ids=["surrogate", "nul"])
def test_an_id_that_no_server_takes_is_unknown_and_costs_nobody_else_an_answer(
    on_postgresql: PenstockApp, id: str
) -> None:
    ended, waiting, strange = jobs.add.enqueue(1, 2), jobs.add.enqueue(3, 4), Job[int](id, "tests.jobs.add")
    end(ended, on_postgresql.settings.database_url, 3)

    async def ask() -> tuple[list[State | None], int]:
        asked = await asyncio.gather(*(job.arefresh() for job in (ended, strange, waiting)))
        with pytest.raises(TimeoutError):
            await strange.aresult(timeout=0.1)
        return [job.state for job in asked], await ended.aresult(timeout=10)

    assert asyncio.run(ask()) == ([State.SUCCEEDED, None, State.QUEUED], 3)
    assert strange.refresh().state is None
    with publishing.publisher().hearing.ear([waiting.id]) as ear:
        assert ear.wait(10) == {waiting.id}, "the thread that listens for all has ended"


def test_threads_of_the_application_are_left_alone(app: PenstockApp, broker: redis.Redis) -> None:
    async def submit() -> None:
        loop, released = asyncio.get_running_loop(), threading.Event()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, released.wait, 20)
        job = await asyncio.wait_for(jobs.add.aenqueue(1, 2), 10)
        assert (await asyncio.wait_for(job.arefresh(), 10)).state is State.QUEUED
        released.set()
        await busy

    asyncio.run(submit())


def test_what_is_gathered_comes_in_its_order(app: PenstockApp, broker: redis.Redis) -> None:
    async def submit() -> list[Job[int]]:
        others = [jobs.add.options(queue="other", delay=60).aenqueue(0, 0) for _ in range(20)]
        made = await asyncio.gather(*(jobs.add.aenqueue(number, 0) for number in range(500)), *others)
        return made[:500]

    made = asyncio.run(submit())
    assert submitted(broker) == list(range(500))
    raws: Any = broker.lrange("default", 0, -1)
    assert [job.id for job in made] == [json.loads(raw)["headers"]["id"] for raw in reversed(raws)]
    tags = {json.loads(raw)["properties"]["delivery_tag"].rpartition(".")[0] for raw in raws}
    assert len(tags) < 500  # several in one call
    assert broker.llen("other") == 20


def test_a_refusal_of_redis_reaches_each_of_those_that_it_concerns(app: PenstockApp, broker: redis.Redis) -> None:
    broker.lpush("penstock:waiting:default", "of a wrong type")

    async def submit() -> list[Any]:
        here, there = jobs.add, jobs.add.options(queue="other")
        calls = [each.aenqueue(number, 0) for number in range(5) for each in (here, there)]
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(submit())
    assert {type(answer) for answer in answers[::2]} == {BrokerUnavailable}
    assert {type(answer) for answer in answers[1::2]} == {Job}
    assert broker.llen("other") == 5


def test_a_batch_meets_the_silence_of_redis_once(app: PenstockApp, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[str] = []
    begin = publishing.Publisher.begin_quietly

    def count(publisher: publishing.Publisher, destination: publishing.Destination, messages: Any) -> Any:
        attempts.append(destination.queue)
        return begin(publisher, destination, messages)

    monkeypatch.setattr(publishing.Publisher, "begin_quietly", count)

    async def submit() -> list[Any]:
        calls = [jobs.add.options(queue=f"queue-{number}").aenqueue(1, 2) for number in range(40)]
        return await asyncio.gather(*calls, return_exceptions=True)

    client.configure(Settings.load({"REDIS_URL": "redis://127.0.0.1:1/0"}))
    assert {type(answer) for answer in asyncio.run(submit())} == {BrokerUnavailable}
    assert len(attempts) < 30  # of 40 that would each have waited


def test_several_loops_of_one_process_submit_at_the_same_time(app: PenstockApp, broker: redis.Redis) -> None:
    async def submit() -> list[State | None]:
        made = await asyncio.gather(*(jobs.add.aenqueue(number, 0) for number in range(50)))
        return [(await job.arefresh()).state for job in made[:5]]

    with ThreadPoolExecutor(3) as threads:
        states = [each.result() for each in [threads.submit(asyncio.run, submit()) for _ in range(3)]]
    assert states == [[State.QUEUED] * 5] * 3
    assert broker.llen("default") == 150


def test_a_forked_child_submits_from_a_loop_of_its_own(app: PenstockApp, broker: redis.Redis) -> None:
    async def submit(number: int) -> None:
        job = await jobs.add.aenqueue(number, 0)
        assert (await job.arefresh()).state is State.QUEUED

    async def fork() -> int:
        sending = asyncio.ensure_future(submit(1))
        await asyncio.sleep(0)
        if (pid := os.fork()) == 0:
            # The loop of the parent is not the child's.
            asyncio.events._set_running_loop(None)  # type: ignore[attr-defined]
            try:
                asyncio.run(submit(2))
            except BaseException:
                os._exit(1)
            os._exit(0)
        await sending
        return pid

    asyncio.run(submit(0))
    pid = asyncio.run(fork())
    assert os.waitpid(pid, 0)[1] == 0
    assert sorted(submitted(broker)) == [0, 1, 2]


def test_a_job_that_a_coroutine_submits_names_the_job_whose_body_that_is(app: PenstockApp, broker: redis.Redis) -> None:
    twin = app.tasks["tests.jobs.add"]
    twin.push_request(id="parent", root_id="root")
    _state._task_stack.push(twin)
    try:
        asyncio.run(jobs.add.aenqueue(1, 2))
    finally:
        _state._task_stack.pop()
        twin.pop_request()
    raws: Any = broker.lrange("default", 0, -1)
    headers = json.loads(raws[0])["headers"]
    assert (headers["parent_id"], headers["root_id"]) == ("parent", "root")


def test_threads_that_have_nothing_to_do_go(app: PenstockApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.threads.LINGER_SECONDS", 0.05)

    def ours() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "penstock-sending"]

    wait_for(lambda: not ours() or _poke(), "the thread of before has gone")
    asyncio.run(jobs.add.aenqueue(1, 2))
    wait_for(lambda: not ours(), "it has gone")


def _poke() -> bool:
    """Threads that wait already have the longer patience."""
    asyncio.run(jobs.add.aenqueue(1, 2))
    time.sleep(0.1)
    return False
