"""Every statement on fires, one function each. The caller brings the transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, and_, case, exists, func, or_, select, tuple_, update

from penstock.job import FINAL, State
from penstock.ledger.many import insert_many
from penstock.ledger.recording.among import among
from penstock.ledger.tables import FireState as FireState
from penstock.ledger.tables import Origin as Origin
from penstock.ledger.tables import fires, jobs, outbox, schedules

FINAL_STATES = sorted(state.value for state in FINAL)


@dataclass(frozen=True, kw_only=True)
class FireRow:
    """What has become of one planned time."""

    schedule: str
    planned_at: datetime
    origin: Origin
    state: FireState
    reason: str | None = None
    job_id: str | None = None
    decided_at: datetime
    is_followed: bool = False

    def columns(self) -> dict[str, Any]:
        """The values as columns of ``fires``."""
        return {**vars(self), "origin": self.origin.value, "state": self.state.value}


@dataclass(frozen=True)
class Ended:
    """A job of a fire whose end was waited for."""

    schedule: str
    planned_at: datetime
    job_id: str
    state: State | None
    """None: there is no row of it any more."""
    error: str | None


def insert(connection: Connection, rows: Sequence[FireRow]) -> set[tuple[str, datetime]]:
    """Inserts fires; the (schedule, planned time) of those that were not there.

    The primary key decides: of all who want to insert the same fire, one has it, whoever they are.
    """
    return {(name, at) for name, at in insert_many(connection, fires, [row.columns() for row in rows])}


def _has_open_job(fire: FromClause = fires) -> ColumnElement[bool]:
    """Whether a fire's job has not ended.

    One statement sees both sides of a job's end: it takes the job out of the outbox in the transaction in which its row
    becomes final. A job that waits has no row, but is in the outbox.
    """
    waits = exists().where(outbox.c.job_id == fire.c.job_id).correlate(fire)
    row = exists().where(jobs.c.id == fire.c.job_id)
    runs = row.where(jobs.c.state.not_in(FINAL_STATES)).correlate(fire)
    # A job that was cancelled in its queue has ended, and its message is there until somebody claims it.
    over = row.where(jobs.c.state.in_(FINAL_STATES)).correlate(fire)
    return or_(runs, and_(waits, ~over))


def busy(connection: Connection, schedules: Collection[str]) -> set[str]:
    """Those of the schedules that have a job that has not ended."""
    followed = and_(fires.c.is_followed, among(connection, fires.c.schedule, schedules))
    return set(connection.execute(select(fires.c.schedule).distinct().where(followed, _has_open_job())).scalars())


def waiting(connection: Connection, schedules: Collection[str]) -> dict[str, int]:
    """How many planned fires of each schedule wait; those without any are left out. Backfilled ones have no overlap."""
    waits = and_(_waits(Origin.PLANNED), among(connection, fires.c.schedule, schedules))
    counts = select(fires.c.schedule, func.count()).where(waits).group_by(fires.c.schedule)
    return {name: int(count) for name, count in connection.execute(counts)}


def ended(connection: Connection, limit: int) -> list[Ended]:
    """Fires whose job has ended and that nobody has noted so far, the oldest first."""
    columns = (fires.c.schedule, fires.c.planned_at, fires.c.job_id, jobs.c.state, jobs.c.error_type)
    both = fires.join(jobs, jobs.c.id == fires.c.job_id, isouter=True)
    rows = select(*columns).select_from(both).where(fires.c.is_followed, ~_has_open_job())
    found = connection.execute(rows.order_by(fires.c.planned_at).limit(limit))
    return [Ended(name, at, id, State(state) if state else None, error) for name, at, id, state, error in found]


def follow_no_more(connection: Connection, noted: Sequence[Ended]) -> list[Ended]:
    """Notes their ends; those that nobody had noted."""
    keys = [(each.schedule, each.planned_at) for each in noted]
    these = and_(fires.c.is_followed, tuple_(fires.c.schedule, fires.c.planned_at).in_(keys))
    done = update(fires).where(these).values(is_followed=False).returning(fires.c.schedule, fires.c.planned_at)
    first = {tuple(row) for row in connection.execute(done)}
    return [each for each, key in zip(noted, keys, strict=True) if key in first]


def free_with_waiting(connection: Connection, limit: int) -> list[str]:
    """Schedules that have fires that wait, and no job that has not ended."""
    other = fires.alias()
    still = exists().where(other.c.schedule == fires.c.schedule, other.c.is_followed, _has_open_job(other))
    names = select(fires.c.schedule).distinct().where(fires.c.state == FireState.WAITING.value, ~still)
    return list(connection.execute(names.limit(limit)).scalars())


def with_waiting(connection: Connection) -> dict[str, bool]:
    """Schedules that have fires that wait, and whether planned ones are among them."""
    planned = func.max(case((fires.c.origin == Origin.PLANNED.value, 1), else_=0))
    names = select(fires.c.schedule, planned).where(_waits()).group_by(fires.c.schedule)
    return {name: bool(has_planned) for name, has_planned in connection.execute(names)}


def first_waiting(connection: Connection, schedule: str, *, planned_first: bool) -> FireRow | None:
    """The fire of a schedule that waits and has the earliest time.

    Args:
        planned_first: one that was planned comes before those that are made up for.
    """
    order = [case((fires.c.origin == Origin.PLANNED.value, 0), else_=1)] if planned_first else []
    rows = select(fires).where(fires.c.schedule == schedule, _waits()).order_by(*order, fires.c.planned_at).limit(1)
    row = connection.execute(rows).one_or_none()
    return fire_of(row) if row else None


def open_jobs(connection: Connection, schedule: str) -> list[str]:
    """Jobs of a schedule that have not ended, as far as they are followed."""
    followed = and_(fires.c.schedule == schedule, fires.c.is_followed, _has_open_job())
    # Sorted here: for an ORDER BY SQLite would go through all fires of the schedule, in the order of its primary key.
    rows = sorted(tuple(row) for row in connection.execute(select(fires.c.planned_at, fires.c.job_id).where(followed)))
    return [str(id) for _, id in rows]


def cancellable_jobs(connection: Connection, schedules: Collection[str]) -> list[str]:
    """Jobs of these schedules that have not ended, without those of fires that are made up for."""
    ours = and_(among(connection, fires.c.schedule, schedules), fires.c.origin != Origin.BACKFILLED.value)
    rows = select(fires.c.job_id).where(ours, fires.c.is_followed, _has_open_job()).order_by(fires.c.planned_at)
    return [id for id in connection.execute(rows).scalars() if id]


def follow_open(connection: Connection, schedule: str) -> None:
    """Has the ends of a schedule's open jobs waited for from now on."""
    fired = (fires.c.schedule == schedule, fires.c.state == FireState.FIRED.value)
    connection.execute(update(fires).where(*fired, _has_open_job()).values(is_followed=True))


def decide(connection: Connection, row: FireRow) -> bool:
    """Decides on a fire that waits; whether nobody had."""
    key = (fires.c.schedule == row.schedule, fires.c.planned_at == row.planned_at)
    waits = update(fires).where(*key, fires.c.state == FireState.WAITING.value)
    return connection.execute(waits.values(row.columns())).rowcount == 1


def _waits(*origins: Origin) -> ColumnElement[bool]:
    from_there = fires.c.origin.in_([origin.value for origin in origins or Origin])
    return and_(fires.c.state == FireState.WAITING.value, from_there)


def skip_waiting(
    connection: Connection, schedules: Collection[str], reason: str, now: datetime, *origins: Origin
) -> int:
    """Skips fires of the schedules that wait, those of some origins or all; how many."""
    waits = and_(_waits(*origins), among(connection, fires.c.schedule, schedules))
    skipped = {"state": FireState.SKIPPED.value, "reason": reason, "decided_at": now}
    return connection.execute(update(fires).where(waits).values(skipped)).rowcount


def replace(connection: Connection, row: FireRow) -> bool:
    """Puts a fire in the place of one that was skipped or missed, or where there was none; whether it did."""
    if insert(connection, [row]):
        return True
    key = (fires.c.schedule == row.schedule, fires.c.planned_at == row.planned_at)
    undone = fires.c.state.in_([FireState.SKIPPED.value, FireState.MISSED.value])
    return connection.execute(update(fires).where(*key, undone).values(row.columns())).rowcount == 1


def kept(connection: Connection, schedule: str, first: datetime, last: datetime) -> set[datetime]:
    """Planned times of a range, both ends included, whose fires :func:`replace` would leave."""
    within = (fires.c.schedule == schedule, fires.c.planned_at.between(first, last))
    settled = fires.c.state.in_([FireState.FIRED.value, FireState.WAITING.value])
    return set(connection.execute(select(fires.c.planned_at).where(*within, settled)).scalars())


def list_fires(
    connection: Connection,
    schedule: str,
    limit: int,
    *,
    state: FireState | None = None,
    before: datetime | None = None,
    among: int | None = None,
) -> list[FireRow]:
    """Fires of a schedule, the newest planned time first.

    Args:
        before: those that were planned from then on are left out.
        among: look at so many of them at most; a state that hardly any has is looked for in all of them otherwise.
    """
    rows = select(fires).where(fires.c.schedule == schedule).order_by(fires.c.planned_at.desc())
    if before is not None:
        rows = rows.where(fires.c.planned_at < before)
    if state is not None and among is not None:
        newest = rows.limit(among).subquery()
        rows = select(newest).where(newest.c.state == state.value).order_by(newest.c.planned_at.desc())
    elif state is not None:
        rows = rows.where(fires.c.state == state.value)
    return [fire_of(row) for row in connection.execute(rows.limit(limit))]


def counts(connection: Connection, schedule: str, among: int | None = None) -> dict[FireState, int]:
    """How many fires of a schedule are in each state; of the newest ``among``, if that is given."""
    newest = select(fires.c.state).where(fires.c.schedule == schedule)
    if among is not None:
        newest = newest.order_by(fires.c.planned_at.desc()).limit(among)
    of_these = newest.subquery()
    rows = select(of_these.c.state, func.count()).group_by(of_these.c.state)
    return {FireState(state): count for state, count in connection.execute(rows)}


def last_fires(connection: Connection, names: Collection[str]) -> dict[str, FireRow]:
    """What has become of the last planned time of each schedule that had any."""
    latest = select(func.max(fires.c.planned_at)).where(fires.c.schedule == schedules.c.name).correlate(schedules)
    each = select(schedules.c.name, latest.scalar_subquery().label("planned_at")).where(
        among(connection, schedules.c.name, names)
    )
    last = each.subquery()
    both = and_(fires.c.schedule == last.c.name, fires.c.planned_at == last.c.planned_at)
    return {row.schedule: fire_of(row) for row in connection.execute(select(fires).join(last, both))}


def job_states(connection: Connection, rows: Collection[FireRow]) -> dict[str, State]:
    """The states of the jobs of fires, by id; one that waits in its queue, or that nobody knows any more, has none."""
    ids = [row.job_id for row in rows if row.job_id]
    found = select(jobs.c.id, jobs.c.state).where(among(connection, jobs.c.id, ids))
    return {str(id): State(state) for id, state in connection.execute(found)}


def fire_of_job(connection: Connection, job_id: str) -> FireRow | None:
    """The fire that has started a job."""
    row = connection.execute(select(fires).where(fires.c.job_id == job_id).limit(1)).one_or_none()
    return fire_of(row) if row else None


def fired_before(connection: Connection, schedule: str, planned_at: datetime) -> datetime | None:
    """The last planned time before that has started a job; what was triggered by hand has no planned time."""
    fired = (fires.c.schedule == schedule, fires.c.planned_at < planned_at, fires.c.state == FireState.FIRED.value)
    latest = (
        select(fires.c.planned_at)
        .where(*fired, fires.c.origin != Origin.TRIGGERED.value)
        .order_by(fires.c.planned_at.desc())
        .limit(1)
    )
    return connection.execute(latest).scalar_one_or_none()


def fire_of(row: Any) -> FireRow:
    """A row of ``fires`` with all its columns."""
    values = dict(row._mapping)
    return FireRow(**{**values, "origin": Origin(values["origin"]), "state": FireState(values["state"])})
