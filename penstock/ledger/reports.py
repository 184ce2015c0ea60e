"""What jobs say of themselves: every statement that writes or reads it.

An attempt's log is kept in chunks. The first HEAD of them have a place each; those that follow share TAIL places in
turn, so that the last ones are always there, and one attempt never has more rows than that.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select

from penstock.ledger.queries import insert_into, job_of
from penstock.ledger.rows import JobRow
from penstock.ledger.tables import attempts, is_plain, job_logs, job_reports, jobs
from penstock.log import BEGINNING, Cursor, Log, LogLine
from penstock.progress import Point, Progress

CHUNK_LINES, CHUNK_CHARACTERS = 50, 8_000
"""Of a chunk: it is full when it has so many, whichever comes first."""
HEAD, TAIL = 10, 20
"""Chunks that are kept of an attempt's beginning and of its end: 500 and 1,000 short lines."""
MOST_ATTEMPTS = 10
"""Attempts of a job whose logs are kept: the first one, and the last ones."""
PAGE, CHUNKS_READ = 500, 40
"""Lines that are read at once, about, and chunks at most: whole chunks are read."""


@dataclass(frozen=True)
class ReportRow:
    """What one attempt says of itself, without its log."""

    began: int
    start: int
    """Which start of the job it is, from 1."""
    progress: Progress | None
    points: tuple[Point, ...]
    lines: int
    """Lines that it has logged, kept or not."""


# -- writing ---------------------------------------------------------------------------------------------------------


def place_of(chunk: int) -> int:
    """Where a chunk with this number lies."""
    return chunk if chunk < HEAD else HEAD + (chunk - HEAD) % TAIL


def write_reports(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes the rows of ``job_reports``, new or known. Without points, those that are there stay."""
    for has_points in (True, False):
        those = [dict(row) for row in rows if (row["points"] is not None) is has_points]
        if those:
            if not has_points:
                for row in those:
                    del row["points"]
            _upsert(connection, job_reports, ("job_id", "began"), those)


def write_chunks(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes the rows of ``job_logs``, new or in the place of others."""
    if rows:
        _upsert(connection, job_logs, ("job_id", "began", "place"), [dict(row) for row in rows])


def _upsert(connection: Connection, table: Any, keys: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    statement = insert_into(connection, table)
    changed = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), rows)


def forget_middle(connection: Connection, job_id: str) -> None:
    """Deletes the logs of a job that has been tried very often, but for its first attempt's and those of the last."""
    statement = select(job_reports.c.began).where(job_reports.c.job_id == job_id).order_by(job_reports.c.began)
    began = list(connection.execute(statement).scalars())
    if len(began) > MOST_ATTEMPTS:
        middle = job_logs.c.began.between(began[1], began[-MOST_ATTEMPTS])
        connection.execute(delete(job_logs).where(job_logs.c.job_id == job_id, middle))


# -- reading ---------------------------------------------------------------------------------------------------------


def reports_of(connection: Connection, job_id: str) -> list[ReportRow]:
    """What each attempt of a job says of itself, in their order; a range of the primary key."""
    statement = select(job_reports).where(job_reports.c.job_id == job_id).order_by(job_reports.c.began)
    rows = connection.execute(statement).all()
    numbers = _numbers(connection, job_id, rows)
    return [ReportRow(row.began, numbers[row.began], progress_of(row), _points(row.points), row.lines) for row in rows]


def find_jobs_with_progress(connection: Connection, ids: Sequence[str]) -> list[tuple[JobRow, Progress | None]]:
    """Jobs that have a row, in no order, and what the last attempt of each that has said so is at; by primary keys, in
    one statement.
    """
    told = job_reports.c[("done", "total", "note", "at")]
    others = job_reports.alias()
    own = others.c.job_id == jobs.c.id, others.c.done.is_not(None)
    last = select(func.max(others.c.began)).where(*own).scalar_subquery()
    joined = jobs.outerjoin(job_reports, and_(job_reports.c.job_id == jobs.c.id, job_reports.c.began == last))
    rows = connection.execute(select(jobs, *told).select_from(joined).where(jobs.c.id.in_(filter(is_plain, ids))))
    return [(job_of(row), progress_of(row)) for row in rows]


def _numbers(connection: Connection, job_id: str, rows: Sequence[Any]) -> dict[int, int]:
    """The numbers of attempts, by their beginnings: by their claims, or else by their order."""
    known: dict[str, int] = {}
    if rows:
        own = select(jobs.c.token, jobs.c.attempts).where(jobs.c.id == job_id)
        others = select(attempts.c.token, attempts.c.number).where(attempts.c.job_id == job_id)
        known = {token: number for token, number in connection.execute(own) if token}
        if len(rows) > 1 or any(number > 1 for number in known.values()):
            known |= {token: number for token, number in connection.execute(others) if token}
    numbers: dict[int, int] = {}
    last = 0
    for row in rows:
        last = numbers[row.began] = max(known.get(row.token, last + 1), last + 1)
    return numbers


def progress_of(row: Any) -> Progress | None:
    """The progress that a row of ``job_reports`` tells."""
    return None if row.done is None else Progress(row.done, row.total, row.note, row.at)


def _points(told: Any) -> tuple[Point, ...]:
    return tuple(Point(datetime.fromtimestamp(at, UTC), done, total) for at, done, total in told or ())


def read_log(
    connection: Connection,
    job_id: str,
    reports: Sequence[ReportRow],
    after: Cursor = BEGINNING,
    level: int = 0,
    limit: int = PAGE,
) -> Log:
    """The lines of a job behind a cursor, ``limit`` of them or some more; a range of the primary key.

    Args:
        reports: of the job, as :func:`reports_of` reads them.
        level: of Python's; lines below it are passed over, and neither shown nor counted as left out.
    """
    numbers = {report.began: report.start for report in reports}
    found: list[LogLine] = []
    left_out, chunks = 0, _chunks(connection, job_id, after)
    has_more = len(chunks) == CHUNKS_READ
    for chunk in chunks:
        if len(found) >= limit:
            has_more = True
            break
        for number, at, line_level, name, text in chunk.lines:
            here = Cursor(chunk.began, number)
            if here <= after:
                continue
            left_out += _between(reports, after, here)
            after = here
            if line_level < level:
                continue
            found.append(
                LogLine(
                    start=numbers.get(chunk.began, 1),
                    number=number,
                    at=datetime.fromtimestamp(at, UTC),
                    level=logging.getLevelName(line_level),
                    logger=name,
                    text=text,
                    left_out=left_out,
                )
            )
            left_out = 0
    if not has_more:
        left_out += _between(reports, after, None)
    return Log(tuple(found), left_out, str(after), has_more)


def _between(reports: Sequence[ReportRow], after: Cursor, before: Cursor | None) -> int:
    """How many lines were logged behind one place and before another; None: the end."""
    count = 0
    for report in reports:
        first = after.number if report.began == after.began else 0
        if before is not None and report.began == before.began:
            count += max(before.number - 1 - first, 0)
        elif report.began >= after.began and (before is None or report.began < before.began):
            count += max(report.lines - first, 0)
    return count


def _chunks(connection: Connection, job_id: str, after: Cursor) -> Sequence[Any]:
    """The first of those with lines behind a cursor: in the primary key, an attempt has at most HEAD + TAIL of them."""
    behind: ColumnElement[bool] = or_(
        job_logs.c.began > after.began, and_(job_logs.c.began == after.began, job_logs.c.last > after.number)
    )
    statement = select(job_logs).where(job_logs.c.job_id == job_id, job_logs.c.began >= after.began, behind)
    return connection.execute(statement.order_by(job_logs.c.began, job_logs.c.last).limit(CHUNKS_READ)).all()
