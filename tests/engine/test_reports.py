"""What bodies say of themselves: how far they are and what they log, in children of each kind and a stock pool."""

import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from penstock.job import State
from penstock.ledger.reports import Log, ReportRow, reports_of
from penstock.ledger.session import reading
from penstock.watching import read_logs
from tests.engine.station import Station
from tests.engine.test_children import ended
from tests.engine.test_lost_workers import killed_at_the_end
from tests.live import Worker, wait_for

KINDS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "single": ((), {}),
    "asyncio": ((), {"penstock_kind": "asyncio", "penstock_size": 200}),
    "threads": ((), {"penstock_kind": "threads", "penstock_size": 50}),
    "processes": (("-P", "processes"), {}),
}


alone = pytest.mark.parametrize("kind", ["single", "processes"], indirect=True)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def worker(booked: Station, kind: str) -> Iterator[Worker]:
    booked.redis.flushdb()
    options, settings = KINDS[kind]
    with killed_at_the_end(booked.worker(*options, **settings)) as started:
        yield started


def log_of(station: Station, id: str, level: str = "debug") -> Log:
    return read_logs(station.ledger, id, None, level)


def texts(station: Station, id: str) -> list[str]:
    return [line.text for line in log_of(station, id)]


def said(station: Station, id: str, count: int) -> list[str]:
    """The lines of a job that has logged so many: on a busy machine the last ones may come after its end."""
    ended(station, id)
    return wait_for(lambda: found if len(found := texts(station, id)) >= count else [], f"{count} lines of {id}")


def reports(station: Station, id: str) -> list[ReportRow]:
    with reading(station.ledger) as connection:
        return reports_of(connection, id)


def done(station: Station, id: str) -> float | None:
    found = reports(station, id)
    return found[-1].progress.done if found and found[-1].progress else None


def test_what_a_job_has_said_is_there_when_it_has_ended(booked: Station, worker: Worker) -> None:
    id = booked.send("tell", 3)
    ended(booked, id)
    assert texts(booked, id) == ["line 1", "line 2", "line 3"]
    (report,) = reports(booked, id)
    assert report.progress is not None
    assert (report.progress.done, report.progress.total, report.progress.note) == (3, 3, "at 3")


def test_it_is_there_while_the_job_runs(booked: Station, worker: Worker) -> None:
    end = booked.gate("end")
    id = booked.send("tell", 4, str(end))
    wait_for(lambda: done(booked, id) == 4 and len(texts(booked, id)) == 4, "all that it has said is in the ledger")
    end.touch()
    assert ended(booked, id).state is State.SUCCEEDED


def test_a_task_of_celerys_own_says_it_as_well(booked: Station, worker: Worker) -> None:
    id = booked.send("celerys")
    assert (said(booked, id, 1), done(booked, id)) == (["it runs"], 3)


def test_lines_come_from_any_logger_with_their_tracebacks(booked: Station, worker: Worker) -> None:
    id = booked.send("log_all")
    said(booked, id, 4)
    lines = [(line.level, line.logger, line.text.splitlines()[0]) for line in log_of(booked, id)]
    assert lines == [
        ("INFO", "anything.at.all", "by any logger"),
        ("WARNING", "shop.tasks", "by celery's logger for tasks"),
        ("WARNING", "celery.redirected", "printed"),
        ("ERROR", "shop.orders", "it went wrong"),
    ]
    assert log_of(booked, id, "error").lines[0].text.endswith("LookupError: not here")


def test_what_many_say_at_once_is_never_mixed_up(booked: Station, worker: Worker, kind: str) -> None:
    ids = [booked.send("talk", number) for number in range(200 if kind == "asyncio" else 50)]
    for number, id in enumerate(ids):
        assert said(booked, id, 6) == [f"{number} says {step}" for step in (1, 2, 3, 4, 5, "aside")]
        (report,) = reports(booked, id)
        assert report.progress is not None
        assert report.progress.note == f"{number} at 5"


def test_a_line_of_a_thread_belongs_to_the_job_in_whose_context_it_runs(
    booked: Station, worker: Worker, kind: str
) -> None:
    id = booked.send("with_threads")
    expected = ["with context", "without"] if kind in ("single", "processes") else ["with context"]
    assert said(booked, id, len(expected)) == expected


@alone
def test_a_process_that_a_body_has_forked_says_nothing(booked: Station, worker: Worker) -> None:
    speaking, silent = booked.send("forking", True), booked.send("forking", False)
    assert (said(booked, speaking, 2), done(booked, speaking)) == (["before", "after"], None)
    ended(booked, silent)
    assert (texts(booked, silent), done(booked, silent)) == ([], None)


def test_the_attempts_of_a_job_are_told_apart(booked: Station, worker: Worker) -> None:
    id = booked.send("second_time")
    said(booked, id, 2)
    assert [(line.start, line.text) for line in log_of(booked, id)] == [(1, "attempt 1"), (2, "attempt 2")]
    assert [(report.start, report.progress and report.progress.done) for report in reports(booked, id)] == [
        (1, 1.0),
        (2, 2.0),
    ]


def test_a_report_that_makes_no_sense_is_a_warning_and_fails_nothing(booked: Station, worker: Worker) -> None:
    id = booked.send("nonsense")
    assert ended(booked, id).state is State.SUCCEEDED
    lines = said(booked, id, 5)
    assert done(booked, id) == 1
    assert lines[0] == "progress(done=nan): a finite number, 0 or more; the report is ignored"


@alone
def test_a_hundred_thousand_lines_are_capped_and_the_rest_is_counted(booked: Station, worker: Worker) -> None:
    id = booked.send("flood", 100_000)
    said(booked, id, 1000)
    log = log_of(booked, id)
    assert 1000 <= len(log) <= 1500
    assert [log.lines[0].text, log.lines[-1].text] == ["line 1", "line 100000"]
    assert len(log) + sum(line.left_out for line in log) + log.left_out == 100_000
    assert all(one.number + 1 + two.left_out == two.number for one, two in pairwise(log))


def test_hostile_texts_do_no_harm_and_secrets_are_hidden(booked: Station, worker: Worker) -> None:
    id = booked.send("hostile")
    first, second = said(booked, id, 2)
    assert first.startswith("nul \ufffd, half ?, bell \x07")
    assert second.startswith("xxxx")
    assert len(second) < 10_000
    (report,) = reports(booked, id)
    assert report.progress is not None
    assert "password=***" in first
    assert "password=***" in str(report.progress.note)


def test_a_killed_process_leaves_what_its_job_had_said(booked: Station, worker: Worker) -> None:
    end = booked.gate("end")
    id = booked.send("tell", 5, str(end))
    wait_for(lambda: done(booked, id) == 5, "it has said how far it is")
    (child,) = booked.children(worker)
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: len(reports(booked, id)) == 2 and done(booked, id) == 5, "its next attempt says the same")
    end.touch()
    assert ended(booked, id).attempts == 2
    assert [line.start for line in log_of(booked, id)] == [1] * 5 + [2] * 5
