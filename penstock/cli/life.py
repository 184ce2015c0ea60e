"""One job's whole life, as the ledger knows it: its attempts, its relatives, and what people did to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from penstock.cli.listing import job_as_json
from penstock.cli.lookup import find_job
from penstock.ledger import queries
from penstock.ledger.rows import AttemptRow, AuditRow, JobRow


@dataclass(frozen=True)
class Life:
    """A job and all that the ledger knows around it."""

    job: JobRow
    attempts: list[AttemptRow]
    parent: JobRow | None
    children: list[JobRow]
    audit: list[AuditRow]


def find_life(connection: Connection, given: str, children: int | None = None) -> Life:
    """Everything about the job with this id, or the only one whose id starts like this.

    Args:
        children: at most so many of the jobs that it submitted; None for all.

    Raises:
        JobNotFound: there is none, or there are several.
    """
    job = find_job(connection, given)
    return Life(
        job=job,
        attempts=queries.attempts_of(connection, job.id),
        parent=queries.find_job(connection, job.parent_id) if job.parent_id else None,
        children=queries.children_of(connection, job.id, children),
        audit=queries.audit_of(connection, job.id),
    )


def life_as_json(life: Life) -> dict[str, Any]:
    """For machines; relatives by id, task and state."""
    return {
        "job": job_as_json(life.job),
        "attempts": [asdict(attempt) for attempt in life.attempts],
        "parent": _relative(life.parent) if life.parent else None,
        "children": [_relative(child) for child in life.children],
        "audit": [asdict(entry) for entry in life.audit],
    }


def _relative(row: JobRow) -> dict[str, Any]:
    return {"id": row.id, "task": row.task, "state": row.state}
