"""The balance sheet line by line: what each is called, and how much it is for one queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from penstock.job import State
from penstock.operations.books.account import Account


@dataclass(frozen=True)
class Line:
    """One line of the sheet."""

    label: str
    amount: Callable[[Account], int]
    is_sum: bool = False
    is_kept: bool = False
    """Whether it is shown also where all queues have 0."""


def _ended(state: State) -> Callable[[Account], int]:
    return lambda account: account.booked.ended[state]


def _of_stock(state: State) -> Callable[[Account], int]:
    return lambda account: account.booked.stock[state]


def _open(state: State) -> Callable[[Account], int]:
    return lambda account: account.booked.open[state]


LINES = (
    Line("published", lambda account: account.held.accepted if account.booked.unpublished else 0),
    Line("+ in the outbox", lambda account: account.booked.unpublished),
    Line("accepted", lambda account: account.accepted, is_sum=True, is_kept=True),
    Line("unpublished", lambda account: account.booked.unpublished),
    Line("+ to be published again", lambda account: account.booked.again + account.found.relayed),
    Line("+ ready", lambda account: account.held.ready, is_kept=True),
    Line("+ parked", lambda account: account.held.parked),
    Line("+ blocked", lambda account: account.held.blocked),
    Line("+ in flight", lambda account: account.held.in_flight, is_kept=True),
    Line("+ running without a claim", lambda account: account.found.early),
    Line("+ replaced by a chain", lambda account: account.found.awaiting),
    Line("+ buried a moment ago", lambda account: account.held.buried),
    Line("- of stock producers", lambda account: -account.found.foreign),
    Line("- of jobs that have ended", lambda account: -account.found.late),
    Line("- second messages", lambda account: -account.found.twice),
    *(Line(f"+ {state}", _ended(state), is_kept=True) for state in State if state.is_final),
    Line("+ purged", lambda account: account.held.purged),
    Line("+ taken by stock workers", lambda account: account.held.elsewhere),
    Line("accounted for", lambda account: account.accounted, is_sum=True, is_kept=True),
    Line("difference", lambda account: account.difference, is_sum=True, is_kept=True),
)
BESIDE = (
    *(Line(f"stock producers' {state}", _of_stock(state)) for state in State if state.is_final),
    Line("quarantined a moment ago", lambda account: account.held.quarantined),
    *(Line(f"rows that are {state}", _open(state)) for state in State if not state.is_final),
)
"""What is on neither side."""


def lines_of(accounts: Sequence[Account]) -> list[Line]:
    """Those that have something to say: always the most important ones, the others where a queue has more than 0."""
    return [line for line in (*LINES, *BESIDE) if line.is_kept or any(line.amount(account) for account in accounts)]
