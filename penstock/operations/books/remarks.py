"""What has to be known besides to read a balance sheet."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.operations.books.auditing import Report
from penstock.wording import counted


def remarks_on(report: Report) -> Iterator[str]:
    """In sentences: since when is counted, and what is not in the sums."""
    sheet = report.sheet
    if sheet.census.rebased:
        yield f"counted from a new beginning at {sheet.census.rebased:%Y-%m-%d %H:%M:%S} UTC"
    elif sheet.census.since:
        yield f"counted since {sheet.census.since:%Y-%m-%d %H:%M:%S} UTC"
    if report.held_by_stock:
        yield f"stock workers hold {counted(report.held_by_stock, 'message')}; of which queue, only they know"
    if any(account.held.elsewhere for account in sheet.accounts):
        yield "what became of jobs that stock workers took is not on these books; nor if somebody deleted them by hand"
    if sheet.books.is_cut:
        yield "of open rows the first 2,000 of each state are counted"
    if sheet.census.unseen:
        yield f"{counted(sheet.census.unseen, 'dead letter')} more wait for the ledger and are not in these sums"
