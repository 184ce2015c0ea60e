"""Every statement that reads or writes a job, one function each. The caller brings the transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, text, union_all
from sqlalchemy.dialects import postgresql, sqlite

from penstock.job import Reason, State
from penstock.ledger.rows import AttemptRow, AuditRow, JobRow, Outcome, clip
from penstock.ledger.tables import attempts, audit, is_plain, job_logs, job_reports, jobs, metadata


def find_job(connection: Connection, id: str) -> JobRow | None:
    """The job with this id, by primary key; nobody has one that no database takes."""
    if not is_plain(id):
        return None
    row = connection.execute(select(jobs).where(jobs.c.id == id)).one_or_none()
    return job_of(row) if row else None


def find_jobs(connection: Connection, ids: Sequence[str]) -> list[JobRow]:
    """The jobs with these ids that have a row, by primary key, in no order; as :func:`find_job`."""
    known = [id for id in ids if is_plain(id)]
    return [job_of(row) for row in connection.execute(select(jobs).where(jobs.c.id.in_(known)))]


def ids_like(connection: Connection, prefix: str, limit: int = 5) -> list[str]:
    """Ids that start with ``prefix``, a range on the primary key."""
    if not is_plain(prefix):
        return []
    statement = select(jobs.c.id).where(jobs.c.id >= prefix, jobs.c.id < prefix + "\U0010ffff")
    return list(connection.execute(statement.order_by(jobs.c.id).limit(limit)).scalars())


def attempts_of(connection: Connection, id: str) -> list[AttemptRow]:
    """The attempts of a job in their order; the one that runs, and the only one of a job, are the job's own row."""
    statement = select(attempts).where(attempts.c.job_id == id).order_by(attempts.c.number)
    history = [AttemptRow(**row._mapping) for row in connection.execute(statement)]
    columns = (jobs.c.state, jobs.c.reason, jobs.c.attempts, *_OWN_ATTEMPT)
    job = connection.execute(select(*columns).where(jobs.c.id == id)).one_or_none()
    if job is None or job.started_at is None or (history and history[-1].number >= job.attempts):
        return history
    state = State(job.state)
    if state is not State.RUNNING and not state.is_final:
        return history
    ended = Outcome(state=state, reason=Reason(job.reason) if job.reason else None)
    own = {column.name: job._mapping[column] for column in _OWN_ATTEMPT}
    outcome = None if state is State.RUNNING else ended.of_attempt
    return [*history, AttemptRow(job_id=id, number=job.attempts, outcome=outcome, **own)]


_NOT_OF_JOBS = ("job_id", "number", "outcome")
_OWN_ATTEMPT = [jobs.c[field.name] for field in fields(AttemptRow) if field.name not in _NOT_OF_JOBS]


def children_of(connection: Connection, id: str, limit: int | None = None) -> list[JobRow]:
    """The jobs that a job submitted, at most ``limit`` of them, the first first; the head of a range of an index."""
    statement = select(jobs).where(jobs.c.parent_id == id).order_by(jobs.c.enqueued_at, jobs.c.id)
    return [job_of(row) for row in connection.execute(statement.limit(limit))]


def children_of_each(connection: Connection, ids: Sequence[str], limit: int) -> list[JobRow]:
    """The jobs that these jobs submitted, at most ``limit`` of each: the head of a range of an index for each of them.

    One range for all would have to be sorted as a whole, however many jobs are in it.
    """
    if not ids:
        return []
    order = (jobs.c.enqueued_at, jobs.c.id)
    heads = [select(jobs.c.id).where(jobs.c.parent_id == id).order_by(*order).limit(limit).subquery() for id in ids]
    chosen = union_all(*(select(head) for head in heads)).subquery()
    statement = select(jobs).join(chosen, chosen.c.id == jobs.c.id).order_by(*order)
    return [job_of(row) for row in connection.execute(statement)]


def forget_job(connection: Connection, id: str) -> None:
    """Deletes a job, its attempts and what it has said of itself."""
    connection.execute(delete(jobs).where(jobs.c.id == id))
    for table in (job_logs, job_reports):
        connection.execute(delete(table).where(table.c.job_id == id))


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


def bytes_used(connection: Connection) -> int:
    """Bytes that the ledger's tables and indexes take; of SQLite, those of the whole file."""
    if connection.dialect.name == "sqlite":
        statement = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        return int(connection.execute(text(statement)).scalar_one())
    sizes = " + ".join(f"pg_total_relation_size('{table.name}')" for table in metadata.sorted_tables)
    return int(connection.execute(text(f"SELECT {sizes}")).scalar_one())


def job_of(row: Any) -> JobRow:
    """A row of ``jobs`` with all its columns, and maybe others behind them."""
    values = {column.name: row._mapping[column] for column in jobs.c}
    values["state"] = State(values["state"])
    values["reason"] = Reason(values["reason"]) if values["reason"] else None
    return JobRow(**values)


def insert_into(connection: Connection, table: Table) -> Any:
    """An INSERT that knows ON CONFLICT, which both dialects spell alike and SQLAlchemy has no common word for."""
    return {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[connection.dialect.name](table)
