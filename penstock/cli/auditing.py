"""What `audit` does: both sides of the balance sheet, what breaks it, and the two ways to close the books."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta

import click
from sqlalchemy import Connection

from penstock.app import PenstockApp
from penstock.broker import census
from penstock.broker.scripts import Scripts
from penstock.broker.unacked import unacked_size
from penstock.cli.account import Sheet, Verdict, judge, sheet_of
from penstock.cli.command import actor
from penstock.cli.examination import FAULTS, Examination, Problem, enter, examine
from penstock.errors import PenstockError
from penstock.job import Reason, State
from penstock.ledger import balance, queries
from penstock.ledger.failure import describe_cause
from penstock.ledger.recording import record
from penstock.ledger.records import Record, Step
from penstock.ledger.rows import Delivery, JobRow, Outcome
from penstock.ledger.session import reading, writing
from penstock.operations.broker import broker_of, note, options_of, require_known, served_queues
from penstock.operations.wording import counted

AFFORDABLE = 1000
"""Messages and rows that are looked at without being asked, when the sums differ."""
LOOKS, PAUSE_SECONDS = 5, 0.1
ROUNDS = 2
CLOCKS_AGREE = timedelta(minutes=1)
"""Between the hosts of Redis and of workers, whose times are compared."""
NAMED_IN_AUDIT = 1000
SILENT = timedelta(minutes=1)
"""A row that has changed since is not given up, whatever was not found of it."""


@dataclass(frozen=True)
class Report:
    """What an audit has to say."""

    sheet: Sheet
    examination: Examination | None
    verdict: Verdict
    sentence: str
    held_by_stock: int
    """Messages that stock workers have taken; of which queue, only they know."""
    is_deep: bool
    """Whether somebody asked for a deep look."""

    @property
    def problems(self) -> list[Problem]:
        """What is to be told by name; what mends itself only if somebody has asked for it."""
        found = self.examination.problems if self.examination else []
        return [problem for problem in found if self.is_deep or problem.kind in FAULTS]


def audit(app: PenstockApp, names: Sequence[str], *, deep: bool, limit: int) -> Report:
    """Balances the books.

    Args:
        names: of the queues that are shown; none: all. The balance is that of all of them.
        deep: looks at every message and every open row, however many there are.
        limit: how many of each kind of problem are told by name.
    """
    with broker_of(app) as scripts, reading(app.settings.database_url) as connection:
        sheet, examination = _explained(app, scripts, connection, deep, limit)
        require_known(names, [account.queue for account in sheet.accounts])
        verdict, sentence = judge(sheet, is_forgotten=_is_forgotten(sheet, connection))
        held_by_stock = unacked_size(scripts, options_of(app))
    if names:
        sheet = replace(sheet, accounts=[account for account in sheet.accounts if account.queue in names])
    return Report(sheet, examination, verdict, sentence, held_by_stock, deep)


def _explained(
    app: PenstockApp, scripts: Scripts, connection: Connection, deep: bool, limit: int
) -> tuple[Sheet, Examination | None]:
    """The sums, and what explains their difference. Something may move between the two: then they agree next time."""
    for _ in range(ROUNDS):
        examination = None
        sheet = _steady(app, scripts, connection)
        if deep or (sheet.strayed and sheet.weight <= AFFORDABLE):
            examination = _examined(scripts, connection, sheet, limit)
        if examination is None or not sheet.unknown:
            break
    return sheet, examination


def _look(app: PenstockApp, scripts: Scripts, connection: Connection) -> Sheet:
    """Redis first: what ends in between is on both sides then, and nothing that is there is on neither."""
    counts = census.take(scripts, served_queues(app))
    books = balance.read(connection)
    return sheet_of(counts, books)


def _steady(app: PenstockApp, scripts: Scripts, connection: Connection) -> Sheet:
    """The most even of some looks: jobs that are just being settled make a look uneven, and never more even."""
    best = _look(app, scripts, connection)
    for _ in range(LOOKS - 1):
        if not best.strayed:
            break
        time.sleep(PAUSE_SECONDS)
        sheet = _look(app, scripts, connection)
        is_quiet = not sheet.in_flight and sheet.strayed == best.strayed
        best = min(best, sheet, key=lambda each: each.strayed)
        if is_quiet:
            break
    return best


def _examined(scripts: Scripts, connection: Connection, sheet: Sheet, limit: int) -> Examination:
    names = [account.queue for account in sheet.accounts]
    examination = examine(scripts, connection, names, limit)
    enter(examination, sheet)
    return examination


def _is_forgotten(sheet: Sheet, connection: Connection) -> bool:
    """Whether Redis has begun to count after the ledger began to record, and nobody has taken that as a beginning."""
    if sheet.census.rebased is not None:
        return False
    if sheet.census.since is None:
        return True
    first = balance.first_change(connection)
    return first is not None and first + CLOCKS_AGREE < sheet.census.since


def rebase(app: PenstockApp, *, yes: bool) -> None:
    """Takes the present as a new beginning, after asking.

    Jobs that are known to be lost stay expected: they are to be found, or given up by name.

    Raises:
        PenstockError: jobs are ending, and what is moving would be taken for a difference for ever.
    """
    with broker_of(app) as scripts, reading(app.settings.database_url) as connection:
        differences = _differences(app, scripts, connection)
        if not yes:
            changed = sum(differences.values())
            click.confirm(f"What was accepted will be corrected by {changed:+,}. Go on?", abort=True, err=True)
        time.sleep(PAUSE_SECONDS)
        if differences != _differences(app, scripts, connection):
            raise PenstockError(
                "the difference is changing while jobs are ending; pause the queues (`queues pause`), let what runs "
                "end, and repeat"
            )
        census.rebase(scripts, differences)
    corrected = {queue: difference for queue, difference in differences.items() if difference}
    note(app, actor(), "rebase", corrected, "the present is the new beginning")


def _differences(app: PenstockApp, scripts: Scripts, connection: Connection) -> dict[str, int]:
    sheet = _steady(app, scripts, connection)
    _examined(scripts, connection, sheet, limit=0)
    return {account.queue: account.difference + account.found.lost for account in sheet.accounts}


def fail_lost_jobs(app: PenstockApp, *, yes: bool) -> None:
    """Records jobs as failed of which there is nothing but a row that has been silent for a while, after asking."""
    report = audit(app, (), deep=True, limit=0)
    assert report.examination is not None
    now = datetime.now(UTC)
    lost = [job for job in report.examination.lost if job.updated_at < now - SILENT]
    if not lost:
        click.echo("no job is lost, or not for longer than a minute", err=True)
        return
    if not yes:
        click.confirm(f"{counted(len(lost), 'lost job')} will be recorded as failed. Go on?", abort=True, err=True)
    failed: list[str] = []
    for start in range(0, len(lost), balance.PAGE):
        page = lost[start : start + balance.PAGE]
        with writing(app.settings.database_url) as connection:
            # Those that have gone on meanwhile are left alone.
            kept = sorted(balance.unchanged(connection, page, lock=True))
            record(connection, [_failed(row) for row in queries.find_jobs(connection, kept)])
        failed += kept
    details = {"count": len(failed), "jobs": failed[:NAMED_IN_AUDIT]}
    note(app, actor(), "fail lost", details, f"{counted(len(failed), 'job')} recorded as failed")
    click.echo(f"{counted(len(failed), 'lost job')} recorded as failed; `jobs retry` runs them anew", err=True)


def _failed(row: JobRow) -> Record:
    """The end of a job of which there is nothing but its row. Of no claim, because nobody can have one."""
    failure = describe_cause(Reason.CRASHED, "its message is lost: neither Redis nor the outbox has one")
    known = {field.name: getattr(row, field.name) for field in fields(Delivery) if field.name != "token"}
    outcome = Outcome(state=State.FAILED, reason=Reason.CRASHED, failure=failure)
    return Record(step=Step.END, delivery=Delivery(**known), outcome=outcome, at=datetime.now(UTC))
