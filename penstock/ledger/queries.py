"""Every statement that reads or writes a job, one function each. The caller brings the transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, delete, func, insert, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from penstock.job import FINAL, Reason, State, may_become
from penstock.ledger.rows import AttemptRow, AuditRow, Delivery, Failure, JobRow, Outcome, clip
from penstock.ledger.tables import attempts, audit, dead_letters, jobs

RUNNING_FROM = [state.value for state in may_become(State.RUNNING)]


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Which jobs; every condition that is given must hold."""

    states: tuple[State, ...] = ()
    task: str | None = None
    queue: str | None = None
    schedule: str | None = None
    since: datetime | None = None
    error: str | None = None
    """Text that the error's type or message contains, or a fingerprint."""


def start_attempt(connection: Connection, delivery: Delivery) -> int | None:
    """Marks the job as running and opens its next attempt.

    The upsert on the primary key changes nothing in a final row, so a late second delivery cannot reopen a job.

    Returns:
        the attempt's number, from 1; None when the job had already ended.
    """
    now = datetime.now(UTC)
    # A reason why it waited has gone.
    state = {"state": State.RUNNING.value, "reason": None, "started_at": now, "updated_at": now, "finished_at": None}
    upsert = insert_into(connection, jobs).values(**delivery.columns(), **state, attempts=1)
    upsert = upsert.on_conflict_do_update(
        index_elements=[jobs.c.id],
        set_={
            **state,
            "attempts": jobs.c.attempts + 1,
            "retries": upsert.excluded.retries,
            "worker": upsert.excluded.worker,
            "eta": upsert.excluded.eta,
        },
        where=jobs.c.state.in_(RUNNING_FROM),
    ).returning(jobs.c.attempts)
    number: int | None = connection.execute(upsert).scalar_one_or_none()
    if number is not None:
        worker = clip(delivery.worker) if delivery.worker else None
        row = {"job_id": clip(delivery.id), "number": number, "worker": worker, "started_at": now}
        connection.execute(insert(attempts).values(**row))
    return number


def end_attempt(connection: Connection, delivery: Delivery, outcome: Outcome, attempt: int | None = None) -> bool:
    """Writes what became of the job and closes the attempt.

    The guard is the state machine's own: a row whose state may not become ``outcome.state`` stays as it is. Besides,
    only the newest attempt may put its job back: a retry is on its way before the attempt that asked for it reports,
    and may have started.

    Args:
        attempt: the attempt's number; the newest one if nobody knows it, as of a job cancelled while it waited.

    Returns:
        False when the job had already ended or gone on otherwise, and nothing of it was changed.
    """
    now = datetime.now(UTC)
    changes: dict[str, Any] = {
        "state": outcome.state.value,
        "reason": outcome.reason.value if outcome.reason else None,
        "result": outcome.result,
        "updated_at": now,
        "finished_at": now if outcome.state.is_final else None,
        "eta": delivery.eta,
    }
    if outcome.failure:
        changes |= outcome.failure.columns()
    elif outcome.state is State.SUCCEEDED:
        changes |= dict.fromkeys(Failure.COLUMNS)
    upsert = insert_into(connection, jobs).values(**{**delivery.columns(), **changes})
    upsert = upsert.on_conflict_do_update(
        index_elements=[jobs.c.id],
        set_=changes,
        where=and_(*_may_end(outcome, attempt)),
    ).returning(jobs.c.attempts)
    newest = connection.execute(upsert).scalar_one_or_none()
    if newest is None:
        _complete(connection, delivery)
    if number := attempt or newest:
        _close_attempt(connection, clip(delivery.id), number, outcome, now)
    return newest is not None


def _may_end(outcome: Outcome, attempt: int | None) -> Iterator[ColumnElement[bool]]:
    yield jobs.c.state.in_([state.value for state in may_become(outcome.state)])
    if attempt and not outcome.state.is_final:
        yield jobs.c.attempts == attempt


def _complete(connection: Connection, delivery: Delivery) -> None:
    """Adds what the message says to the row of a job that was cancelled before a worker had seen its message.

    Celery writes that row when it hears the request, and knows no more than the id. The missing queue is its mark.
    """
    if delivery.queue is not None:
        known = {name: value for name, value in delivery.columns().items() if name != "id"}
        connection.execute(update(jobs).where(jobs.c.id == clip(delivery.id), jobs.c.queue.is_(None)).values(**known))


def _close_attempt(connection: Connection, id: str, number: int, outcome: Outcome, now: datetime) -> None:
    error = outcome.failure
    connection.execute(
        update(attempts)
        .where(attempts.c.job_id == id, attempts.c.number == number, attempts.c.finished_at.is_(None))
        .values(
            finished_at=now,
            outcome=outcome.of_attempt,
            error_type=clip(error.type) if error else None,
            error_message=error.message if error else None,
        )
    )


def record_progress(connection: Connection, id: str, progress: dict[str, Any]) -> None:
    """Keeps what a running job says of itself; a job that has ended is left alone."""
    connection.execute(
        update(jobs)
        .where(jobs.c.id == clip(id), jobs.c.state == State.RUNNING.value)
        .values(progress=progress, updated_at=datetime.now(UTC))
    )


def record_due(connection: Connection, id: str, due: datetime) -> None:
    """Keeps when a retry may start; a job that is no longer waiting for it is left alone."""
    connection.execute(update(jobs).where(jobs.c.id == clip(id), jobs.c.state == State.SCHEDULED.value).values(eta=due))


def find_job(connection: Connection, id: str) -> JobRow | None:
    """The job with this id, by primary key."""
    row = connection.execute(select(jobs).where(jobs.c.id == id)).one_or_none()
    return _job(row) if row else None


def find_jobs(connection: Connection, ids: Sequence[str]) -> list[JobRow]:
    """The jobs with these ids that have a row, by primary key, in no order."""
    return [_job(row) for row in connection.execute(select(jobs).where(jobs.c.id.in_(ids)))]


def ids_like(connection: Connection, prefix: str, limit: int = 5) -> list[str]:
    """Ids that start with ``prefix``, a range on the primary key."""
    statement = select(jobs.c.id).where(jobs.c.id >= prefix, jobs.c.id < prefix + "\U0010ffff")
    return list(connection.execute(statement.order_by(jobs.c.id).limit(limit)).scalars())


def list_jobs(connection: Connection, chosen: JobFilter, limit: int) -> list[JobRow]:
    """The most recently changed jobs first; each single condition has an index that ends in ``updated_at``."""
    statement = _matching(select(jobs), chosen).order_by(jobs.c.updated_at.desc(), jobs.c.id).limit(limit)
    return [_job(row) for row in connection.execute(statement)]


def count_by_state(connection: Connection, chosen: JobFilter) -> dict[State, int]:
    """How many jobs are in each state."""
    statement = _matching(select(jobs.c.state, func.count()), chosen).group_by(jobs.c.state)
    return {State(state): count for state, count in connection.execute(statement)}


def _matching(statement: Select[Any], chosen: JobFilter) -> Select[Any]:
    conditions: list[ColumnElement[bool]] = []
    if chosen.states:
        conditions.append(jobs.c.state.in_([state.value for state in chosen.states]))
    for column, value in (
        (jobs.c.task, chosen.task),
        (jobs.c.queue, chosen.queue),
        (jobs.c.schedule, chosen.schedule),
    ):
        if value is not None:
            conditions.append(column == value)
    if chosen.since is not None:
        conditions.append(jobs.c.updated_at >= chosen.since)
    if chosen.error is not None:
        conditions.append(
            or_(
                jobs.c.error_fingerprint == chosen.error,
                jobs.c.error_type.contains(chosen.error, autoescape=True),
                jobs.c.error_message.contains(chosen.error, autoescape=True),
            )
        )
    return statement.where(and_(*conditions)) if conditions else statement


def attempts_of(connection: Connection, id: str) -> list[AttemptRow]:
    """The starts of a job in their order."""
    statement = select(attempts).where(attempts.c.job_id == id).order_by(attempts.c.number)
    return [AttemptRow(**row._mapping) for row in connection.execute(statement)]


def children_of(connection: Connection, id: str, limit: int | None = None) -> list[JobRow]:
    """The jobs that a job submitted, at most ``limit`` of them, in the order in which they were first seen."""
    statement = select(jobs).where(jobs.c.parent_id == id).order_by(jobs.c.enqueued_at, jobs.c.started_at, jobs.c.id)
    return [_job(row) for row in connection.execute(statement.limit(limit))]


def forget_job(connection: Connection, id: str) -> None:
    """Deletes a job and its attempts."""
    connection.execute(delete(jobs).where(jobs.c.id == id))


def delete_ended(
    connection: Connection,
    states: Sequence[State],
    older_than: timedelta,
    limit: int,
    task: str | None = None,
) -> int:
    """Deletes at most ``limit`` jobs that ended in one of ``states`` longer ago than ``older_than``; their number."""
    if not FINAL.issuperset(states):
        raise ValueError(f"only final jobs can be deleted, not {sorted(set(states) - FINAL)}")
    old = (
        select(jobs.c.id)
        .where(jobs.c.finished_at < datetime.now(UTC) - older_than, jobs.c.state.in_([s.value for s in states]))
        .order_by(jobs.c.finished_at)
        .limit(limit)
    )
    if task is not None:
        old = old.where(jobs.c.task == task)
    return connection.execute(delete(jobs).where(jobs.c.id.in_(old.scalar_subquery()))).rowcount


def add_audit(
    connection: Connection, *, actor: str, action: str, job_id: str | None = None, details: Any = None
) -> None:
    """Notes who did what."""
    row = {
        "at": datetime.now(UTC),
        "actor": clip(actor),
        "action": action,
        "job_id": job_id,
        "details": details,
    }
    connection.execute(insert(audit).values(**row))


def audit_of(connection: Connection, job_id: str) -> list[AuditRow]:
    """What people did to a job, oldest first."""
    statement = select(audit).where(audit.c.job_id == job_id).order_by(audit.c.at, audit.c.id)
    return [AuditRow(**row._mapping) for row in connection.execute(statement)]


def ping(connection: Connection) -> str:
    """The server's version, as proof that it answers."""
    statement = "SELECT sqlite_version()" if connection.dialect.name == "sqlite" else "SHOW server_version"
    return str(connection.execute(text(statement)).scalar_one())


def span_of_jobs(connection: Connection) -> tuple[datetime | None, datetime | None]:
    """When the first and the last job changed; None without jobs. Each is one end of an index."""
    oldest, newest = (select(end(jobs.c.updated_at)).scalar_subquery() for end in (func.min, func.max))
    row = connection.execute(select(oldest, newest)).one()
    return row[0], row[1]


def bytes_used(connection: Connection) -> int:
    """Bytes that the ledger's tables and indexes take; of SQLite, those of the whole file."""
    if connection.dialect.name == "sqlite":
        statement = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        return int(connection.execute(text(statement)).scalar_one())
    sizes = " + ".join(f"pg_total_relation_size('{table.name}')" for table in (jobs, attempts, audit, dead_letters))
    return int(connection.execute(text(f"SELECT {sizes}")).scalar_one())


def _job(row: Any) -> JobRow:
    values = dict(row._mapping)
    values["state"] = State(values["state"])
    values["reason"] = Reason(values["reason"]) if values["reason"] else None
    return JobRow(**values)


def insert_into(connection: Connection, table: Table) -> Any:
    """An INSERT that knows ON CONFLICT, which both dialects spell alike and SQLAlchemy has no common word for."""
    return {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[connection.dialect.name](table)
