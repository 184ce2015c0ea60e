"""Keeping the system itself in order."""

from __future__ import annotations

from datetime import timedelta

from penstock import Settings, State, task

BATCH = 500


@task(expires=60)
def heartbeat() -> None:
    """Shows that beat, broker, worker and ledger work together: its newest row is recent."""


@task(timeout=3600)
def retain(days_by_task: dict[str, int] | None = None) -> dict[str, int]:
    """Deletes ended jobs from the ledger once they are older than the settings say.

    Args:
        days_by_task: shorter limits for single tasks, in days.

    Returns:
        how many jobs were deleted, by rule.
    """
    settings = Settings.load()
    done = [State.SUCCEEDED, State.CANCELLED]
    deleted = {
        "succeeded and cancelled": _delete(settings, done, settings.retention_days),
        "failed": _delete(settings, [State.FAILED], settings.failed_retention_days),
    }
    for name, days in (days_by_task or {}).items():
        deleted[name] = _delete(settings, [*done, State.FAILED], days, name)
    return deleted


def _delete(settings: Settings, states: list[State], days: int, task_name: str | None = None) -> int:
    """In batches, each its own transaction, so that no worker waits long for the tables."""
    from penstock.ledger import queries
    from penstock.ledger.session import writing

    total = 0
    while True:
        with writing(settings.database_url) as connection:
            batch = queries.delete_ended(connection, states, timedelta(days=days), BATCH, task_name)
            total += batch
            if batch < BATCH:
                if total:
                    details = {"states": states, "older_than_days": days, "task": task_name, "jobs": total}
                    queries.add_audit(connection, actor="tasks.housekeeping", action="retain", details=details)
                return total
