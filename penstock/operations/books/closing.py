"""The two ways to close the books: giving lost jobs up by name, and taking the present as a new beginning."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from penstock.app import PenstockApp
from penstock.broker import census
from penstock.broker.scripts import Scripts
from penstock.errors import PenstockError
from penstock.job import Reason, State
from penstock.ledger import balance, queries
from penstock.ledger.balance import OpenJob
from penstock.ledger.failure import describe_cause
from penstock.ledger.recording import record
from penstock.ledger.records import Record, Step
from penstock.ledger.rows import Delivery, JobRow, Outcome
from penstock.ledger.session import reading, writing
from penstock.operations.books.account import Sheet
from penstock.operations.books.auditing import PAUSE_SECONDS, audit, examined, steady
from penstock.operations.broker import broker_of, note
from penstock.wording import counted

NAMED_IN_AUDIT = 1000
SILENT = timedelta(minutes=1)
"""A row that has changed since is not given up, whatever was not found of it."""


def plan_rebase(app: PenstockApp) -> dict[str, int]:
    """By how much what was accepted would be corrected, for each queue."""
    with broker_of(app) as scripts, reading(app.settings.database_url) as connection:
        return _differences(app, scripts, connection)


def rebase(app: PenstockApp, differences: dict[str, int], *, actor: str) -> None:
    """Takes the present as a new beginning.

    Jobs that are known to be lost stay expected: they are to be found, or given up by name.

    Args:
        differences: what :func:`plan_rebase` has said.

    Raises:
        PenstockError: jobs are ending, and what is moving would be taken for a difference for ever.
        LedgerUnavailable: it is done, and could not be noted.
    """
    with broker_of(app) as scripts, reading(app.settings.database_url) as connection:
        time.sleep(PAUSE_SECONDS)
        if differences != _differences(app, scripts, connection):
            raise PenstockError(
                "the difference is changing while jobs are ending; pause the queues (`queues pause`), let what runs "
                "end, and repeat"
            )
        census.rebase(scripts, differences)
    corrected = {queue: difference for queue, difference in differences.items() if difference}
    note(app, actor, "rebase", corrected, "the present is the new beginning")


def _differences(app: PenstockApp, scripts: Scripts, connection: Connection) -> dict[str, int]:
    sheet = steady(app, scripts, connection)
    examined(scripts, connection, sheet, limit=0)
    return corrections(sheet)


def corrections(sheet: Sheet) -> dict[str, int]:
    """What :func:`rebase` would add to what each queue has accepted, by a sheet that was examined."""
    return {account.queue: account.difference + account.found.lost for account in sheet.accounts}


def lost_jobs(app: PenstockApp) -> list[OpenJob]:
    """Jobs of which there is nothing but a row that has been silent for a minute."""
    report = audit(app, (), deep=True, limit=0)
    assert report.examination is not None
    return silent(report.examination.lost)


def silent(lost: Sequence[OpenJob]) -> list[OpenJob]:
    """Those of lost jobs that can be given up by now."""
    now = datetime.now(UTC)
    return [job for job in lost if job.updated_at < now - SILENT]


def fail_lost(app: PenstockApp, lost: Sequence[OpenJob], *, actor: str) -> int:
    """Records lost jobs as failed, so that they can be retried; how many. Those that have gone on meanwhile are left.

    Raises:
        LedgerUnavailable: SQL went away, or it is done and could not be noted.
    """
    failed: list[str] = []
    for start in range(0, len(lost), balance.PAGE):
        page = lost[start : start + balance.PAGE]
        with writing(app.settings.database_url) as connection:
            # Those that have gone on meanwhile are left alone.
            kept = sorted(balance.unchanged(connection, page, lock=True))
            record(connection, [_failed(row) for row in queries.find_jobs(connection, kept)])
        failed += kept
    details = {"count": len(failed), "jobs": failed[:NAMED_IN_AUDIT]}
    note(app, actor, "fail lost", details, f"{counted(len(failed), 'job')} recorded as failed")
    return len(failed)


def _failed(row: JobRow) -> Record:
    """The end of a job of which there is nothing but its row. Of no claim, because nobody can have one."""
    failure = describe_cause(Reason.CRASHED, "its message is lost: neither Redis nor the outbox has one")
    known = {field.name: getattr(row, field.name) for field in fields(Delivery) if field.name != "token"}
    outcome = Outcome(state=State.FAILED, reason=Reason.CRASHED, failure=failure)
    return Record(step=Step.END, delivery=Delivery(**known), outcome=outcome, at=datetime.now(UTC))
