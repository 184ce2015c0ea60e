"""Deletes what the rules of retention no longer keep, a bounded batch at a time.

What is deleted is found by ranges of indexes, oldest first, so a batch reads about as many rows as it deletes, however
many there are. It waits for nobody's lock and so takes part in no deadlock with those who record.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, select, tuple_

from penstock.job import FINAL, State
from penstock.ledger.session import writing
from penstock.ledger.tables import (
    FireState,
    Resolution,
    audit,
    counted,
    counters,
    dead_letters,
    failure_hours,
    fires,
    groups,
    job_logs,
    job_reports,
    jobs,
    outbox,
    queue_counts,
    queue_depths,
)
from penstock.retention import RetentionRules, Thing

BATCH = 1_000
"""Rows of a transaction: some ten milliseconds, after which everybody else has their turn."""
SAID, REPORTS = (job_logs, job_reports), "reports"
"""What goes with jobs, and how it is counted."""


def sweep(connection: Connection, rules: RetentionRules, limit: int = BATCH) -> int:
    """Deletes at most ``limit`` rows; how many. Fewer than ``limit`` mean that nothing more is to be deleted now."""
    return sweep_each(connection, rules, limit).total()


def sweep_each(connection: Connection, rules: RetentionRules, limit: int = BATCH) -> Counter[str]:
    """:func:`sweep`; how many rows of what: by final state, or by thing."""
    now, swept = datetime.now(UTC), Counter[str]()
    for task, state, before in _expired(connection, rules, now):
        swept += _delete_jobs(connection, task, state, before, limit - swept.total())
        if swept.total() >= limit:
            return +swept
    for thing, age in ((thing, rules.ages[thing.value]) for thing in Thing):
        if age is not None:
            swept[thing.value] += _THINGS[thing](connection, now - age, limit - swept.total())
    return +swept


def sweeps(url: str, rules: RetentionRules) -> Iterator[Counter[str]]:
    """Sweeps until nothing is left to be deleted; what each batch deleted, after its own transaction.

    Rests after each batch for as long as it took: the server belongs to those who record.

    Raises:
        LedgerUnavailable: the database does not answer; the batches before are deleted.
    """
    while True:
        begun = time.monotonic()
        with writing(url) as connection:
            batch = sweep_each(connection, rules, BATCH)
        took = time.monotonic() - begun
        yield batch
        if batch.total() < BATCH:
            return
        time.sleep(took)


def _expired(connection: Connection, rules: RetentionRules, now: datetime) -> Iterator[tuple[str, State, datetime]]:
    """The ranges of jobs that are old enough: a task, a final state, and the time before which they go.

    By task and state and not by state alone, because rows that a task's own rule keeps longer would stand before all
    others and be read again for each batch.
    """
    for task, state, oldest in _oldest_of_each(connection):
        age = rules.of_job(task, state)
        if age is not None and oldest < now - age:
            yield task, state, now - age


def _oldest_of_each(connection: Connection) -> list[tuple[str, State, datetime]]:
    """When the oldest job of each task and final state changed last: a few looks at an index for each task."""
    tasks = select(func.min(jobs.c.task).label("task")).cte("tasks", recursive=True)
    following = select(func.min(jobs.c.task)).where(jobs.c.task > tasks.c.task).scalar_subquery()
    tasks = tasks.union_all(select(following).where(tasks.c.task.is_not(None)))
    states = sorted(FINAL)
    oldest = [
        select(func.min(jobs.c.updated_at))
        .where(jobs.c.task == tasks.c.task, jobs.c.state == state.value)
        .scalar_subquery()
        .label(state.value)
        for state in states
    ]
    rows = connection.execute(select(tasks.c.task, *oldest).where(tasks.c.task.is_not(None)))
    return [(row[0], state, at) for row in rows for state, at in zip(states, row[1:], strict=True) if at is not None]


def _delete_jobs(connection: Connection, task: str, state: State, before: datetime, limit: int) -> Counter[str]:
    """The oldest jobs of a range, their attempts with them, and before them what they have said of themselves.

    A job stays while the counter of its chord is there, because the body still needs its result, and while the outbox
    has a message of it, because its row is what keeps that message from running it again.
    """
    awaited = exists().where(counters.c.id == jobs.c.group_id)
    sent = exists().where(outbox.c.job_id == jobs.c.id)
    deleted = Counter[str]()
    for ids in _pages(connection, task, state, before, limit):
        old = and_(jobs.c.id.in_(ids), ~awaited, ~sent)
        for said in SAID:
            # As rows of their own: one job may have hundreds.
            whose = said.c.job_id.in_(select(jobs.c.id).where(old))
            deleted[REPORTS] += _delete(connection, said, whose, limit - deleted.total())
        silent = and_(*(~exists().where(said.c.job_id == jobs.c.id) for said in SAID))
        room = limit - deleted.total()
        deleted[state.value] += _delete(connection, jobs, and_(old, silent), room, jobs.c.updated_at, jobs.c.id)
        if deleted.total() >= limit:
            break
    return +deleted


def _pages(connection: Connection, task: str, state: State, before: datetime, size: int) -> Iterator[list[str]]:
    """Ids of the jobs of a range that are old enough, the oldest first, some of which may have to stay.

    Compared as one row, and sorted by all of it, so that only one index can serve it. With ``task = … AND state = …``
    the planner may as well walk the index of the state and skip the rows of other tasks; when the oldest of the task
    have been deleted, these are hundreds of thousands. A page ends by its LIMIT, whether the range has ended or not.
    """
    order = (jobs.c.task, jobs.c.state, jobs.c.updated_at, jobs.c.id)
    place: tuple[Any, ...] = (task, state.value)
    while size > 0:
        row, bound = order[: len(place)], tuple_(*place, types=[column.type for column in order[: len(place)]])
        after = tuple_(*row) > bound if len(place) == len(order) else tuple_(*row) >= bound
        page = select(*order).where(after).order_by(*order).limit(size).subquery()
        within = and_(page.c.task == task, page.c.state == state.value, page.c.updated_at < before)
        found = connection.execute(select(page).where(within).order_by(page.c.updated_at, page.c.id)).all()
        if found:
            yield [each.id for each in found]
        if len(found) < size:
            return
        place = tuple(found[-1])


def _delete_letters(connection: Connection, before: datetime, limit: int) -> int:
    settled = dead_letters.c.resolution.in_([resolution.value for resolution in Resolution])
    # Settled after it came: the second condition says it by the index.
    old = and_(settled, dead_letters.c.resolved_at < before, dead_letters.c.at < before)
    return _delete(connection, dead_letters, old, limit)


def _delete_counters(connection: Connection, before: datetime, limit: int) -> int:
    """Their parts first, as rows of their own: one chord may have more parts than a batch has rows."""
    fired = select(counters.c.id).where(counters.c.fired_at < before).order_by(counters.c.fired_at).limit(max(limit, 0))
    ids = list(connection.execute(fired).scalars())
    parts = _delete(connection, counted, counted.c.counter_id.in_(ids), limit)
    empty = and_(counters.c.id.in_(ids), ~exists().where(counted.c.counter_id == counters.c.id))
    return parts + _delete(connection, counters, empty, limit - parts)


def _delete_groups(connection: Connection, before: datetime, limit: int) -> int:
    return _delete(connection, groups, groups.c.created_at < before, limit, groups.c.created_at)


def _delete_fires(connection: Connection, before: datetime, limit: int) -> int:
    """Those that nothing is expected of: what waits has no job yet, and of what is followed somebody awaits the end."""
    settled = and_(fires.c.state != FireState.WAITING.value, ~fires.c.is_followed)
    return _delete(connection, fires, and_(fires.c.decided_at < before, settled), limit, fires.c.decided_at)


def _delete_audit(connection: Connection, before: datetime, limit: int) -> int:
    return _delete(connection, audit, audit.c.at < before, limit, audit.c.at)


def _delete_failures(connection: Connection, before: datetime, limit: int) -> int:
    # An hour goes as a whole, when its last minute is old enough.
    old = failure_hours.c.hour < before - timedelta(hours=1)
    return _delete(connection, failure_hours, old, limit, failure_hours.c.hour)


def _delete_series(connection: Connection, before: datetime, limit: int) -> int:
    deleted = _delete(connection, queue_counts, queue_counts.c.at < before, limit, queue_counts.c.at)
    return deleted + _delete(connection, queue_depths, queue_depths.c.at < before, limit - deleted, queue_depths.c.at)


_THINGS: dict[Thing, Callable[[Connection, datetime, int], int]] = {
    Thing.FAILURES: _delete_failures,
    Thing.LETTERS: _delete_letters,
    Thing.COUNTERS: _delete_counters,
    Thing.GROUPS: _delete_groups,
    Thing.FIRES: _delete_fires,
    Thing.SERIES: _delete_series,
    Thing.AUDIT: _delete_audit,
}


def _delete(
    connection: Connection, table: Table, where: ColumnElement[bool], limit: int, *order: ColumnElement[object]
) -> int:
    """At most ``limit`` rows, chosen first and then deleted by their keys: a DELETE has no limit of its own.

    A row that somebody holds is left for the next time (SKIP LOCKED; SQLite has one writer and needs no such thing).
    """
    if limit <= 0:
        return 0
    keys = list(table.primary_key)
    chosen = select(*keys).where(where).order_by(*order).limit(limit).with_for_update(skip_locked=True, of=table)
    found = [tuple(row) for row in connection.execute(chosen)]
    if not found:
        return 0
    these = keys[0].in_([key for (key,) in found]) if len(keys) == 1 else tuple_(*keys).in_(found)
    return connection.execute(delete(table).where(these)).rowcount
