"""The balance sheet for machines."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from penstock.job import State
from penstock.operations.books.account import Account
from penstock.operations.books.auditing import Report
from penstock.operations.books.examination import Problem


def report_as_json(report: Report) -> dict[str, Any]:
    """The verdict in words and every number; problems as far as somebody looked for them."""
    sheet, examination = report.sheet, report.examination
    return {
        "verdict": report.verdict.words,
        "sentence": report.sentence,
        "since": sheet.census.since,
        "rebased": sheet.census.rebased,
        "examined": sheet.is_examined,
        "held_by_stock": report.held_by_stock,
        "queues": [_account_as_json(account) for account in sheet.accounts],
        "counts": {kind.value: count for kind, count in examination.counts.items()} if examination else {},
        "problems": [_problem_as_json(problem) for problem in examination.problems] if examination else [],
    }


def _account_as_json(account: Account) -> dict[str, Any]:
    held, booked = account.held, account.booked
    return {
        "queue": account.queue,
        "published": held.accepted,
        "unpublished": booked.unpublished,
        "accepted": account.accepted,
        "to_be_published_again": booked.again,
        **{name: getattr(held, name) for name in ("ready", "parked", "blocked", "in_flight", "buried", "quarantined")},
        **{state.value: booked.ended[state] for state in State if state.is_final},
        "purged": held.purged,
        "elsewhere": held.elsewhere,
        "found": asdict(account.found),
        "accounted": account.accounted,
        "difference": account.difference,
        "stock": {state.value: booked.stock[state] for state in State if state.is_final},
        "open_rows": {state.value: booked.open[state] for state in State if not state.is_final},
    }


def _problem_as_json(problem: Problem) -> dict[str, Any]:
    return {
        "kind": problem.kind.value,
        "queue": problem.queue,
        "job": problem.job_id or None,
        "task": problem.task or None,
        "text": problem.text,
        "remedy": problem.remedy,
    }
