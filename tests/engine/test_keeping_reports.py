"""The keeper writes what jobs say of themselves, and no outcome waits for that. With real databases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from penstock.engine.keeping import reports as keeping
from penstock.engine.keeping.reports import CATCH_UP_SECONDS, Reports
from penstock.engine.reporting.attempt import Packet
from penstock.errors import LedgerUnavailable
from penstock.ledger import schema
from penstock.ledger.reports import reports_of
from penstock.ledger.session import engine_for, reading, writing
from penstock.watching import read_logs
from tests.engine.station import Station
from tests.engine.test_lost_workers import killed_at_the_end
from tests.engine.test_reports import log_of, said
from tests.live import wait_for
from tests.outbox.ground import ward


def packet(done: float, *lines: int, id: str = "1", chunk: int = 0, **changes: Any) -> Packet:
    """So much is done, and these lines are in a chunk."""
    told = tuple((number, 1.0, 20, "shop", f"line {number}, token=abc") for number in lines)
    progress = (done, None, "token=abc", 1.0)
    chunks = ((chunk, told),) if lines else ()
    made = Packet(id, 1, "w:1", max(lines, default=0), progress, None, chunks, is_repeated=False)
    return made._replace(**changes)


@pytest.fixture
def reports(broker_url: str, database_url: str) -> Iterator[Reports]:
    made = Reports(ward(broker_url, database_url, "ant@host/1"), database_url)
    yield made
    made.stop()


def texts(url: str, id: str = "1") -> list[str]:
    return [line.text for line in read_logs(url, id, None, "debug")]


def done(url: str, id: str = "1") -> list[float]:
    with reading(url) as connection:
        return [report.progress.done for report in reports_of(connection, id) if report.progress]


LONG_SECONDS = 8.0
"""What waits takes that long, and what does not takes less, however busy the machine is. SQLite gives up after 15."""


def waited(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> float:
    """How many seconds outcomes wait now, if they would wait for very long."""
    monkeypatch.setattr(keeping, "CATCH_UP_SECONDS", LONG_SECONDS)
    began = time.monotonic()
    reports.catch_up()
    return time.monotonic() - began


def test_what_was_taken_is_written_when_outcomes_have_caught_up(reports: Reports, database_url: str) -> None:
    reports.take(packet(3, 1, 2))
    reports.catch_up()
    assert (done(database_url), texts(database_url)) == ([3], ["line 1, token=***", "line 2, token=***"])


def test_the_end_of_a_worker_writes_what_there_is(reports: Reports, database_url: str) -> None:
    for number in range(500):
        reports.take(packet(number, 1, id=f"{number}"))
    reports.stop()
    assert done(database_url, "499") == [499]


def test_words_that_the_deployment_hides_are_hidden(broker_url: str, database_url: str) -> None:
    place = ward(broker_url, database_url, "ant@host/1")
    reports = Reports(replace(place, transport_options={"redact": ["line"]}), database_url)
    reports.take(packet(1, 7, chunks=((0, ((1, 1.0, 20, "shop", "line=7 token=abc"),)),)))
    reports.catch_up()
    assert texts(database_url) == ["line=*** token=abc"]
    reports.stop()


def test_while_sql_is_away_the_newest_is_kept_and_outcomes_do_not_wait(
    broker_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'later.db'}"
    reports = Reports(ward(broker_url, url, "ant@host/1"), url)
    reports.take(packet(1, 1, points=((1.0, 1.0, None),)))
    wait_for(lambda: reports._is_failing, "there are no tables yet")
    for number in range(2, 100):
        reports.take(packet(number, *range(1, number + 1)))
    assert waited(reports, monkeypatch) < LONG_SECONDS
    schema.upgrade(url)
    wait_for(lambda: texts(url) and len(texts(url)) == 99, "all has come")
    with reading(url) as connection:
        (report,) = reports_of(connection, "1")
    assert report.progress is not None
    assert (report.progress.done, len(report.points)) == (99, 1)
    assert caplog.text.count("is written later") == 1
    reports.stop()


def test_what_could_not_be_written_lies_under_what_has_come_meanwhile(
    broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = Reports(ward(broker_url, "", "ant@host/1"), f"sqlite:///{tmp_path / 'none.db'}")
    monkeypatch.setattr(reports, "_start", lambda: None)
    reports.take(packet(1, 1))
    batch = reports._grab(0.0)
    assert batch
    reports.take(packet(2, 1, 2))
    reports._put_back(batch, LedgerUnavailable("it is away"))
    pending = reports._pending["1", 1]
    assert (pending.packet.progress or (0,))[0] == 2
    assert len(pending.chunks[0][1]) == 2


def test_outcomes_wait_a_moment_for_a_log_that_takes_long_and_then_not_at_all(
    reports: Reports, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "IMPATIENT_SECONDS", 3600.0)
    with writing(database_url) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("LOCK TABLE job_logs"))
        reports.take(packet(1, 1))
        began = time.monotonic()
        reports.catch_up()
        assert time.monotonic() - began >= CATCH_UP_SECONDS * 0.9
        assert waited(reports, monkeypatch) < LONG_SECONDS
    wait_for(lambda: texts(database_url), "it is written afterwards")


def test_without_room_lines_are_counted_and_progress_goes_on(
    reports: Reports, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MOST_CHARACTERS", 0)
    reports.take(packet(5, 1, 2, 3))
    reports.catch_up()
    log = read_logs(database_url, "1", None, "debug")
    assert (done(database_url), log.lines, log.left_out) == ([5], (), 3)


def test_what_no_database_takes_is_given_up_alone(reports: Reports, database_url: str) -> None:
    reports.take(packet(1, 1, id="good"))
    reports.take(packet(1, 1, id="bad", logged=1 << 70))
    reports.take(packet(1, 1, id="fine"))
    wait_for(lambda: texts(database_url, "fine") and texts(database_url, "good"), "the others are written")
    assert not texts(database_url, "bad")


def test_a_body_goes_on_while_the_ledger_is_locked_and_its_lines_arrive_afterwards(
    booked: Station, tmp_path: Path
) -> None:
    mark = tmp_path / "has ended"
    with killed_at_the_end(booked.worker()):
        with engine_for(booked.ledger).begin() as connection:
            connection.execute(text("DELETE FROM job_logs"))
            id = booked.send("tell", 200, "", "line %s", str(mark))
            wait_for(mark.exists, "the body has ended though nothing can be written")
        lines = said(booked, id, 200)
    assert (len(lines), log_of(booked, id).left_out) == (200, 0)
