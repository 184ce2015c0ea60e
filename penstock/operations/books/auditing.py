"""Both sides of the balance sheet, and what breaks it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection

from penstock.app import PenstockApp
from penstock.broker import census
from penstock.broker.scripts import Scripts
from penstock.broker.unacked import unacked_size
from penstock.ledger import balance
from penstock.ledger.session import reading
from penstock.operations.books.account import Sheet, Verdict, judge, sheet_of
from penstock.operations.books.examination import FAULTS, Examination, Problem, enter, examine
from penstock.operations.broker import broker_of, options_of, require_known, served_queues

AFFORDABLE = 1000
"""Messages and rows that are looked at without being asked, when the sums differ."""
LOOKS, PAUSE_SECONDS = 5, 0.1
ROUNDS = 2
CLOCKS_AGREE = timedelta(minutes=1)
"""Between the hosts of Redis and of workers, whose times are compared."""


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

    Raises:
        PenstockError: a name is no queue's.
        BrokerUnavailable, LedgerUnavailable, LedgerOutdated: a server is away, and nobody can tell.
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
        sheet = steady(app, scripts, connection)
        if deep or (sheet.strayed and sheet.weight <= AFFORDABLE):
            examination = examined(scripts, connection, sheet, limit)
        if examination is None or not sheet.unknown:
            break
    return sheet, examination


def _look(app: PenstockApp, scripts: Scripts, connection: Connection) -> Sheet:
    """Redis first: what ends in between is on both sides then, and nothing that is there is on neither."""
    counts = census.take(scripts, served_queues(app))
    books = balance.read(connection)
    return sheet_of(counts, books)


def steady(app: PenstockApp, scripts: Scripts, connection: Connection) -> Sheet:
    """The most even of some looks: jobs that are just being settled make one uneven, and never more even."""
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


def examined(scripts: Scripts, connection: Connection, sheet: Sheet, limit: int) -> Examination:
    """Looks at every message and every open row, and writes what was found into the sheet."""
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
