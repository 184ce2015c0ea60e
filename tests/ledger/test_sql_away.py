"""What a recorder does while SQL is away, refuses, or does not say whether it has committed."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from penstock.errors import LedgerUnavailable
from penstock.job import State
from penstock.ledger import recorder, session
from penstock.ledger.recorder import Recorder
from penstock.ledger.records import Record, Verdict
from tests.conftest import NewLedger
from tests.faults.postgres import OURS, Postgres, own_server
from tests.faults.proxy import Proxy
from tests.ledger.making import end, start
from tests.ledger.recording.job import Job
from tests.live import wait_for

TIME_TO_SAY_SO = 8.0
"""Seconds after which whoever keeps outcomes must know that they are not written: the time to connect, and some."""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server of this module's own, which its tests stop, cut off and forbid to write."""
    with own_server() as server:
        yield server


@pytest.fixture
def proxy(server: Postgres) -> Iterator[Proxy]:
    """A way to the server that can be disturbed."""
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def url(server: Postgres, proxy: Proxy) -> Iterator[str]:
    """The ledger's address on that way."""
    address = server.url(OURS, proxy.port)
    yield address
    session.engine_for(address).dispose()


@pytest.fixture
def job(server: Postgres) -> Job:
    """A job that the ledger has not heard of, asked for past the proxy."""
    return Job(server.url(OURS), uuid.uuid4().hex)


def success(job: Job) -> Record:
    """Its end, from which another job follows."""
    return end(job.claim(), follow_ups=(job.follow_up(),))


def is_whole(job: Job) -> bool:
    """Whether all that its end has to leave is there, once."""
    row, _, outbox, tallies = job.everything
    left = (row.state, row.attempts, list(outbox), tallies)
    return left == (State.SUCCEEDED, 1, [f"{job.id}-next"], {"succeeded": 1})


def left_nothing(job: Job) -> bool:
    """Whether nothing of it is there."""
    return job.everything == (None, [], {}, {})


def test_nothing_is_written_to_a_server_that_is_down_and_all_of_it_when_it_is_back(
    server: Postgres, url: str, job: Job
) -> None:
    recorder = Recorder(url)
    recorder.write([start(Job(url, uuid.uuid4().hex).claim())])
    server.stop()
    begun = time.monotonic()
    with pytest.raises(LedgerUnavailable):
        recorder.write([success(job)])
    assert time.monotonic() - begun < TIME_TO_SAY_SO
    server.start()
    assert left_nothing(job)
    assert recorder.write([success(job)]).verdicts == [Verdict.WON]
    assert is_whole(job)


def test_whoever_has_patience_writes_as_soon_as_the_server_is_back(server: Postgres, url: str, job: Job) -> None:
    told: list[Verdict] = []
    server.stop()
    patient = threading.Thread(target=lambda: told.append(Recorder(url).write_patiently(success(job))))
    patient.start()
    patient.join(0.3)
    assert patient.is_alive()
    server.start()
    patient.join(recorder.LAST_PAUSE + TIME_TO_SAY_SO)
    assert told == [Verdict.WON]
    assert is_whole(job)


def test_an_end_whose_commit_has_no_answer_is_told_again_and_counts_once(proxy: Proxy, url: str, job: Job) -> None:
    recorder = Recorder(url)
    proxy.drop_commit_of(job.id)
    with pytest.raises(LedgerUnavailable):
        recorder.write([success(job)])
    assert is_whole(job)
    assert recorder.write([success(job)]).verdicts == [Verdict.WON]
    assert is_whole(job)


def test_a_start_whose_commit_has_no_answer_is_told_again_and_counts_once(proxy: Proxy, url: str, job: Job) -> None:
    recorder, again = Recorder(url), start(job.claim(deliveries=1))
    proxy.drop_commit_of(job.id)
    with pytest.raises(LedgerUnavailable):
        recorder.write([again])
    assert recorder.write([again]).verdicts == [Verdict.WON]
    assert job.row.attempts == 1


def test_a_connection_that_ends_before_the_commit_leaves_nothing(proxy: Proxy, url: str, job: Job) -> None:
    recorder = Recorder(url)
    raised: list[Exception] = []
    proxy.hold_command("COMMIT")
    writer = threading.Thread(target=lambda: raised.append(failure(recorder, success(job))))
    writer.start()
    assert proxy.holding.wait(10)
    proxy.cut()
    writer.join(TIME_TO_SAY_SO)
    assert [type(error) for error in raised] == [LedgerUnavailable]
    assert left_nothing(job)
    assert recorder.write([success(job)]).verdicts == [Verdict.WON]
    assert is_whole(job)


def failure(recorder: Recorder, record: Record) -> Exception:
    with pytest.raises(LedgerUnavailable) as raised:
        recorder.write([record])
    return raised.value


def test_a_server_that_ends_all_connections_costs_one_try(server: Postgres, url: str, job: Job) -> None:
    recorder = Recorder(url)
    recorder.write([start(Job(url, uuid.uuid4().hex).claim())])
    assert server.terminate_backends()
    with suppress(LedgerUnavailable):
        recorder.write([success(job)])
    assert recorder.write([success(job)]).verdicts == [Verdict.WON]
    assert is_whole(job)


def test_a_read_only_database_takes_it_when_it_may_be_written_again(server: Postgres, url: str, job: Job) -> None:
    recorder = Recorder(url)
    server.set("default_transaction_read_only", "on")
    try:
        with pytest.raises(LedgerUnavailable, match="read-only"):
            recorder.write([success(job)])
    finally:
        server.set("default_transaction_read_only", "off")
    assert wait_for(lambda: attempt(recorder, success(job)), "the server has read its settings") == [Verdict.WON]
    assert is_whole(job)


def attempt(recorder: Recorder, record: Record) -> list[Verdict]:
    with suppress(LedgerUnavailable):
        return recorder.write([record]).verdicts
    return []


def test_a_server_without_a_free_connection_takes_it_when_there_is_one(server: Postgres, url: str, job: Job) -> None:
    recorder = Recorder(url)
    server.ask("SELECT 1")
    with ExitStack() as held:
        with suppress(psycopg.OperationalError):
            while True:
                held.enter_context(closing(server.connect()))
        with pytest.raises(LedgerUnavailable, match="too many clients"):
            recorder.write([success(job)])
    assert wait_for(lambda: attempt(recorder, success(job)), "a connection is free") == [Verdict.WON]
    assert is_whole(job)


def test_a_paused_server_is_waited_for(server: Postgres, url: str, job: Job) -> None:
    recorder, told = Recorder(url), []
    recorder.write([start(Job(url, uuid.uuid4().hex).claim())])
    server.pause()
    writer = threading.Thread(target=lambda: told.append(recorder.write([success(job)]).verdicts))
    writer.start()
    writer.join(1)
    assert told == []
    server.resume()
    writer.join(TIME_TO_SAY_SO)
    assert told == [[Verdict.WON]]
    assert is_whole(job)


def test_a_host_that_is_gone_is_noticed_within_half_a_minute(url: str) -> None:
    """Seen by what the kernel was asked for: no host of the tests can be pulled from the wall."""
    idle, interval, count = (option(url, getattr(socket, f"TCP_KEEP{name}")) for name in ("IDLE", "INTVL", "CNT"))
    assert idle + interval * count <= 30
    assert 0 < option(url, socket.TCP_USER_TIMEOUT) <= 30_000


def test_an_address_may_say_otherwise(url: str) -> None:
    assert option(f"{url}&keepalives_idle=77", socket.TCP_KEEPIDLE) == 77


def option(url: str, number: int) -> int:
    """What the kernel keeps for a connection of the ledger's."""
    engine = session.engine_for(url)
    try:
        with engine.connect() as connection:
            descriptor = connection.connection.driver_connection.fileno()  # type: ignore[union-attr]
            with socket.socket(fileno=os.dup(descriptor)) as wire:
                return wire.getsockopt(socket.IPPROTO_TCP, number)
    finally:
        engine.dispose()


def test_a_sqlite_file_that_somebody_holds_too_long_takes_it_afterwards(
    new_ledger: NewLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(recorder, "COLLISION_SECONDS", 0.2)
    with new_ledger("sqlite") as url:
        job = Job(url, uuid.uuid4().hex)
        path = Path(make_url(url).database or "")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerUnavailable, match="locked"):
                Recorder(url).write([success(job)])
            other.execute("ROLLBACK")
        assert Recorder(url).write([success(job)]).verdicts == [Verdict.WON]
        assert is_whole(job)
