"""What jobs say of themselves, as the ledger keeps it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from penstock.ledger import queries
from penstock.ledger.reports import (
    BEGINNING,
    CHUNK_LINES,
    HEAD,
    MOST_ATTEMPTS,
    TAIL,
    Cursor,
    Log,
    find_jobs_with_progress,
    forget_middle,
    place_of,
    read_log,
    reports_of,
    write_chunks,
    write_reports,
)
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import job_logs
from penstock.operations.jobs.life import find_life
from tests.ledger.making import CRASHED, delivery, end, running, write

NOW = datetime.now(UTC)


def said(url: str, began: int = 1, id: str = "1", **values: Any) -> None:
    row = {"job_id": id, "began": began, "token": None, "done": None, "total": None, "note": None, "at": None}
    with writing(url) as connection:
        write_reports(connection, [{**row, "points": None, "lines": 0, **values}])


def logged(url: str, *numbers: int, began: int = 1, id: str = "1", chunk: int = 0) -> None:
    lines = [(number, NOW.timestamp(), 20, "shop", f"line {number}") for number in numbers]
    row = {"job_id": id, "began": began, "place": place_of(chunk), "last": numbers[-1], "lines": lines}
    with writing(url) as connection:
        write_chunks(connection, [row])


def log(url: str, after: Cursor = BEGINNING, **options: Any) -> Log:
    with reading(url) as connection:
        return read_log(connection, "1", reports_of(connection, "1"), after, **options)


def numbers(found: Log) -> list[tuple[int, int]]:
    return [(line.number, line.left_out) for line in found]


def test_the_last_progress_stands_and_points_stay_until_there_are_others(database_url: str) -> None:
    said(database_url, done=1.0, total=4.0, note="one", at=NOW, points=[[NOW.timestamp(), 1, 4]])
    said(database_url, done=2.0, total=4.0, note="two", at=NOW)
    with reading(database_url) as connection:
        (report,) = reports_of(connection, "1")
    assert report.progress is not None
    assert (report.progress.fraction, report.progress.note) == (0.5, "two")
    assert [(point.done, point.total) for point in report.points] == [(1, 4)]


def test_a_job_comes_with_the_progress_of_its_last_attempt(database_url: str) -> None:
    write(database_url, running(delivery("1")))
    with reading(database_url) as connection:
        assert find_jobs_with_progress(connection, ["1", "2"]) == [(queries.find_job(connection, "1"), None)]
    for began, done in ((1, 9.0), (2, 3.0)):
        said(database_url, began, done=done, at=NOW)
    with reading(database_url) as connection:
        (found,) = find_jobs_with_progress(connection, ["1"])
    assert found[1] is not None
    assert found[1].done == 3


def test_the_progress_stands_when_a_later_attempt_only_logs(database_url: str) -> None:
    write(database_url, running(delivery("1")))
    points = [[(NOW - timedelta(seconds=9 - second)).timestamp(), second, 9] for second in range(4)]
    said(database_url, 1, done=3.0, total=9.0, at=NOW, points=points)
    said(database_url, 2, lines=1)
    logged(database_url, 1, began=2)
    with reading(database_url) as connection:
        ((_, progress),) = find_jobs_with_progress(connection, ["1"])
        life = find_life(connection, "1")
    assert progress is not None
    assert progress.done == 3
    assert life.progress == progress
    assert life.rate is None, "the attempt that runs has said nothing of how fast it is"


def test_a_chunk_is_written_anew_as_a_whole(database_url: str) -> None:
    said(database_url, lines=3)
    logged(database_url, 1, 2)
    logged(database_url, 1, 2, 3)
    assert numbers(log(database_url)) == [(1, 0), (2, 0), (3, 0)]


def test_the_last_chunks_take_the_places_of_those_before_them(database_url: str) -> None:
    chunks = HEAD + TAIL + 5
    said(database_url, lines=chunks)
    for chunk in range(chunks):
        logged(database_url, chunk + 1, chunk=chunk)
    found = log(database_url)
    assert len(found) == HEAD + TAIL
    assert numbers(found)[HEAD] == (HEAD + 6, 5)
    assert found.lines[-1].number == chunks


def test_a_log_is_read_on_from_its_cursor_line_by_line(database_url: str) -> None:
    said(database_url, lines=5)
    logged(database_url, 1, 2, 3)
    first = log(database_url)
    assert log(database_url, Cursor.of(first.cursor)).lines == ()
    logged(database_url, 1, 2, 3, 5)
    assert numbers(log(database_url, Cursor.of(first.cursor))) == [(5, 1)]


def test_a_page_ends_with_a_chunk_and_says_that_there_is_more(database_url: str) -> None:
    said(database_url, lines=150)
    for chunk in range(3):
        logged(database_url, *range(50 * chunk + 1, 50 * chunk + 51), chunk=chunk)
    first = log(database_url, limit=60)
    assert (len(first), first.has_more, first.left_out) == (100, True, 0)
    second = log(database_url, Cursor.of(first.cursor), limit=60)
    assert (len(second), second.has_more) == (CHUNK_LINES, False)


def test_lines_that_nobody_kept_are_counted_where_they_are_missing(database_url: str) -> None:
    said(database_url, 1, lines=10)
    said(database_url, 2, lines=4)
    logged(database_url, 3, 4, began=1)
    logged(database_url, 2, began=2)
    found = log(database_url)
    assert numbers(found) == [(3, 2), (4, 0), (2, 6 + 1)]
    assert found.left_out == 2


def test_a_level_passes_lines_over_and_counts_only_those_that_are_missing(database_url: str) -> None:
    said(database_url, lines=6)
    logged(database_url, 1, 4, 5)
    found = log(database_url, level=30)
    assert (found.lines, found.left_out) == ((), 2 + 1)


def test_attempts_have_the_numbers_that_their_claims_have(database_url: str) -> None:
    first, second, third = (delivery("1", token=f"w:{number}", deliveries=number) for number in range(3))
    write(database_url, end(first, CRASHED), end(second, CRASHED), running(third))
    said(database_url, 20, token="w:1")
    said(database_url, 30, token="w:2")
    said(database_url, 40, token="somebody's")
    with reading(database_url) as connection:
        assert [report.start for report in reports_of(connection, "1")] == [2, 3, 4]


def test_of_very_many_attempts_the_logs_of_the_first_and_the_last_ones_stay(database_url: str) -> None:
    for began in range(1, MOST_ATTEMPTS + 6):
        said(database_url, began, lines=1)
        logged(database_url, 1, began=began)
    with writing(database_url) as connection:
        forget_middle(connection, "1")
    with reading(database_url) as connection:
        left = connection.execute(select(job_logs.c.began).order_by(job_logs.c.began)).scalars().all()
    assert left == [1, *range(7, MOST_ATTEMPTS + 6)]


def test_a_job_that_is_forgotten_takes_along_what_it_has_said(database_url: str) -> None:
    for id in ("1", "2"):
        said(database_url, id=id, lines=1)
        logged(database_url, 1, id=id)
    with writing(database_url) as connection:
        queries.forget_job(connection, "1")
        assert connection.execute(select(func.count()).select_from(job_logs)).scalar() == 1
        assert reports_of(connection, "1") == []


@pytest.mark.parametrize("text", ["", "1", "1.", "a.b", "1.2.3", "-1.2", "1.²"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no cursor of a log"):
        Cursor.of(text)


def test_a_cursor_beyond_all_bounds_harms_no_database(database_url: str) -> None:
    assert log(database_url, Cursor.of("9" * 40 + "." + "9" * 40)).lines == ()
