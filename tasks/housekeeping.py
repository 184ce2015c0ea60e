"""Keeping the system itself in order."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from penstock import Settings, task


@task(expires=60)
def heartbeat() -> None:
    """Shows that beat, broker, worker and ledger work together: its newest row is recent."""


@task(timeout=3600)
def retain(days_by_task: dict[str, int] | None = None) -> dict[str, int]:
    """Deletes from the ledger what PENSTOCK_RETENTION no longer keeps, as keepers of workers do all the time.

    Args:
        days_by_task: rules for single tasks, in days, that come before those of the settings.

    Returns:
        how many rows of what were deleted.
    """
    from penstock.ledger import queries
    from penstock.ledger.retention import sweeps
    from penstock.ledger.session import writing

    settings = Settings.load()
    rules = settings.retention
    for name, days in (days_by_task or {}).items():
        rules = rules.with_task(name, timedelta(days=days))
    deleted = sum(sweeps(settings.database_url, rules), Counter[str]())
    if deleted:
        with writing(settings.database_url) as connection:
            details = {"rules": str(rules), "deleted": deleted}
            queries.add_audit(connection, actor="tasks.housekeeping", action="retain", details=details)
    return dict(deleted)
