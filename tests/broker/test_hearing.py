"""Hearing of ended jobs: one connection for all who wait, which misses nothing that it has promised to tell."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from penstock.broker import hearing
from penstock.broker.hearing import AsyncEar, Ear, Hearing, hearing_of
from tests import servers
from tests.broker.bench import Bench
from tests.live import wait_for

PATIENCE = 10


@pytest.fixture
def bench(server: redis.Redis) -> Bench:
    """The scripts on an empty server."""
    return Bench(server, "app.")


@pytest.fixture
def ours(server_socket: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hearing]:
    """This process's hearing; its connection is closed when the test has ended."""
    monkeypatch.setattr(hearing, "LINGER_SECONDS", 0.1)
    yield Hearing(f"redis+socket://{server_socket}", {"global_keyprefix": "app."})
    wait_for(lambda: not connections(bench.client), "the connection is closed")


def channels(client: redis.Redis) -> list[bytes]:
    listed: Any = client.pubsub_channels()
    return list(listed)


def connections(client: redis.Redis) -> list[dict[str, str]]:
    """Those that listen."""
    return [each for each in client.client_list() if each["name"] == "hearing"]


def heard(ear: Ear, *ids: str) -> None:
    """Waits until the ear was told of all of these."""
    missing = set(ids)
    deadline = time.monotonic() + PATIENCE
    while missing:
        assert time.monotonic() < deadline, f"not told of {missing}"
        missing -= ear.wait(1)


def test_an_ear_is_told_when_its_jobs_are_listened_for_and_when_they_end(ours: Hearing, bench: Bench) -> None:
    with ours.ear(["j1", "j2"]) as ear:
        heard(ear, "j1", "j2")
        assert bench.scripts.announce([("j2", "succeeded"), ("j3", "failed")]) == 1
        assert ear.wait(PATIENCE) == {"j2"}
        assert ear.wait(0) == set()


def test_who_comes_later_is_told_as_well(ours: Hearing, bench: Bench) -> None:
    """The server confirms a channel once; whoever comes after that must not wait for it."""
    first, second = Ear(), Ear()
    with ours.listening(["j"], first):
        heard(first, "j")
        with ours.listening(["j"], second):
            assert second.wait(PATIENCE) == {"j"}
            bench.scripts.announce([("j", "succeeded")])
            heard(first, "j")
            heard(second, "j")


def test_whoever_leaves_takes_nothing_from_the_others(ours: Hearing, bench: Bench) -> None:
    stays, leaves = Ear(), Ear()
    with ours.listening(["j"], stays):
        heard(stays, "j")
        with ours.listening(["j"], leaves):
            heard(leaves, "j")
        assert bench.scripts.announce([("j", "succeeded")]) == 1
        heard(stays, "j")
        assert leaves.wait(0) == set()


def test_who_returns_at_once_is_told_again(ours: Hearing, bench: Bench) -> None:
    for _ in range(50):
        ear = Ear()
        with ours.listening(["j"], ear):
            heard(ear, "j")
            assert bench.scripts.announce([("j", "succeeded")]) == 1
            heard(ear, "j")


def test_threads_and_tasks_share_one_connection(ours: Hearing, bench: Bench) -> None:
    ids = [f"j{number}" for number in range(5)]
    ended: list[str] = []
    all_listen = threading.Barrier(2 * len(ids) + 1)

    def wait_in_a_thread(id: str) -> None:
        ear = Ear()
        with ours.listening([id], ear):
            heard(ear, id)
            all_listen.wait(PATIENCE)
            heard(ear, id)
        ended.append(id)

    async def wait_in_a_task(id: str) -> None:
        ear = AsyncEar()
        with ours.listening([id], ear):
            assert await ear.wait(PATIENCE) == {id}
            await asyncio.to_thread(all_listen.wait, PATIENCE)
            assert await ear.wait(PATIENCE) == {id}
        ended.append(id)

    async def wait_in_tasks() -> None:
        await asyncio.gather(*(wait_in_a_task(id) for id in ids))

    threads = [threading.Thread(target=wait_in_a_thread, args=(id,)) for id in ids]
    threads.append(threading.Thread(target=asyncio.run, args=(wait_in_tasks(),)))
    for thread in threads:
        thread.start()
    all_listen.wait(PATIENCE)
    assert len(connections(bench.client)) == 1
    assert bench.scripts.announce([(id, "succeeded") for id in ids]) == len(ids)
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(ended) == sorted(ids * 2)


def test_an_asyncio_ear_gives_up_in_time(ours: Hearing) -> None:
    async def wait() -> set[str]:
        return await AsyncEar().wait(0.01)

    assert asyncio.run(wait()) == set()


def test_an_ear_whose_loop_is_closed_harms_nobody(ours: Hearing, bench: Bench) -> None:
    async def make() -> AsyncEar:
        return AsyncEar()

    gone, ear = asyncio.run(make()), Ear()
    with ours.listening(["j"], gone), ours.listening(["j"], ear):
        heard(ear, "j")
        bench.scripts.announce([("j", "succeeded")])
        heard(ear, "j")


def test_after_a_lost_connection_every_ear_is_told_to_look_again(ours: Hearing, bench: Bench) -> None:
    ear = Ear()
    with ours.listening(["j"], ear):
        heard(ear, "j")
        (lost,) = connections(bench.client)
        bench.client.client_kill_filter(_id=lost["id"])
        heard(ear, "j")
        assert bench.scripts.announce([("j", "succeeded")]) == 1
        heard(ear, "j")


def test_a_server_that_is_away_costs_nobody_more_than_the_wait(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    ear = Ear()
    with Hearing(f"redis+socket://{tmp_path / 'nothing'}").listening(["j"], ear):
        started = time.monotonic()
        assert ear.wait(0.3) == set()
        assert time.monotonic() - started < 1
    assert "ended jobs are looked for from time to time" in caplog.text
    assert caplog.text.count("does not answer") == 1


def test_a_server_that_has_fallen_silent_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "SILENT_SECONDS", 0.1)
    monkeypatch.setattr(hearing, "ANSWER_SECONDS", 0.2)
    ear = Ear()
    with (
        servers.running("redis") as silent,
        Hearing(silent.url).listening(["j"], ear),
        redis.Redis(unix_socket_path=str(silent.path)) as client,
    ):
        heard(ear, "j")
        (before,) = connections(client)
        os.kill(silent.process.pid, signal.SIGSTOP)
        time.sleep(0.5)  # So long no word comes.
        os.kill(silent.process.pid, signal.SIGCONT)
        heard(ear, "j")
        wait_for(lambda: before["id"] not in [each["id"] for each in connections(client)], "another connection")


def test_a_quiet_server_is_not_left(ours: Hearing, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "SILENT_SECONDS", 0.05)
    ear = Ear()
    with ours.listening(["j"], ear):
        heard(ear, "j")
        (before,) = connections(bench.client)
        wait_for(lambda: connections(bench.client)[0]["cmd"] == "ping", "it was asked")
        assert ear.wait(0.3) == set()
        assert [each["id"] for each in connections(bench.client)] == [before["id"]]


def test_so_many_jobs_are_listened_for_and_no_more(
    ours: Hearing, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "MOST_JOBS", 3)
    monkeypatch.setattr(hearing, "SLICE", 2)
    ear, late = Ear(), Ear()
    with ours.listening(["j1", "j2", "j3"], ear):
        heard(ear, "j1", "j2", "j3")
        with ours.listening(["j4"], late):
            assert late.wait(0.2) == set()
            assert len(channels(bench.client)) == 3


def test_when_nobody_waits_the_connection_is_closed_and_opened_anew_later(ours: Hearing, bench: Bench) -> None:
    for _ in range(2):
        ear = Ear()
        with ours.listening(["j"], ear):
            heard(ear, "j")
            assert len(connections(bench.client)) == 1
        wait_for(lambda: not connections(bench.client), "the connection is closed")


def test_a_forked_child_listens_for_itself(ours: Hearing, bench: Bench) -> None:
    ear = Ear()
    with ours.listening(["j"], ear):
        heard(ear, "j")
        child = os.fork()
        if child == 0:
            told = Ear()
            with ours.listening(["of the child"], told):
                first, second = told.wait(PATIENCE), told.wait(PATIENCE)
            os._exit(0 if first == second == {"of the child"} else 1)
        wait_for(lambda: len(channels(bench.client)) == 2, "both listen")
        assert len(connections(bench.client)) == 2
        bench.scripts.announce([("of the child", "succeeded")])
        # It must not take words of its parent's connection, nor close it.
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert bench.scripts.announce([("j", "succeeded")]) == 1
        heard(ear, "j")


def test_whoever_names_a_server_alike_shares_its_connection(server_socket: Path) -> None:
    url = f"redis+socket://{server_socket}"
    assert hearing_of(url) is hearing_of(url, {"lease_seconds": 15})
    assert hearing_of(url) is not hearing_of(url, {"global_keyprefix": "app."})
