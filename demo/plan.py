"""What the demo submits, and how each job must end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from demo.sales_data import LAST_DAY
from penstock import Job, State
from tasks import reports, sales, shell, webhooks

PAGES, MISSING_PAGES = 200, 8
HOOKS, GONE_HOOKS = 60, 4
COMMANDS, FAILING_COMMANDS = 10, 4
CANCELLED = 12
CANCELLED_DELAY = 6.0
"""Seconds that the jobs to be cancelled wait, so that there is something left to cancel."""


class Effect(StrEnum):
    """What a job leaves outside of the system when its body ran to its end."""

    PAGE = "page"
    HOOK = "hook"
    REPORT = "report"
    WORKFLOW = "workflow"
    """A webhook that a job of the same workflow delivers in the end."""
    NONE = "none"


@dataclass(frozen=True)
class Planned:
    """One job to submit.

    Attributes:
        label: what it is, for people.
        submit: enqueues it.
        ends: the state in which it must end.
        effect: what it must leave behind if it succeeds.
        page: the page that it requests, when its effect is one.
        is_cancelled: whether it is cancelled while it waits.
    """

    label: str
    submit: Callable[[], Job[Any]]
    ends: State
    effect: Effect
    page: str = ""
    is_cancelled: bool = False


def plan(site: str) -> list[Planned]:
    """All jobs, in the order in which they are submitted.

    Args:
        site: address of the local site.
    """
    return [
        *_cancelled(site),
        _sales(),
        _overview(),
        *_pages(site),
        *_hooks(site),
        *_commands(),
    ]


def _cancelled(site: str) -> Iterator[Planned]:
    for number in range(CANCELLED):
        page = f"/later/{number}"
        yield Planned(
            "URL checks, cancelled",
            partial(webhooks.check_url.options(delay=CANCELLED_DELAY).enqueue, site + page),
            State.CANCELLED,
            Effect.PAGE,
            page=page,
            is_cancelled=True,
        )


def _sales() -> Planned:
    return Planned(
        "nightly sales", partial(sales.nightly.enqueue, LAST_DAY.isoformat()), State.SUCCEEDED, Effect.WORKFLOW
    )


def _overview() -> Planned:
    statement = "SELECT product, SUM(quantity) AS sold FROM sales GROUP BY product ORDER BY sold DESC"
    return Planned(
        "report",
        partial(reports.query.enqueue, "sales", statement, "Sold by product", "sold-by-product"),
        State.SUCCEEDED,
        Effect.REPORT,
    )


def _pages(site: str) -> Iterator[Planned]:
    for number in range(PAGES):
        yield _page(site, f"/page/{number}", "URL checks", State.SUCCEEDED)
    for number in range(MISSING_PAGES):
        yield _page(site, f"/missing/{number}", "URL checks, page missing", State.FAILED)


def _page(site: str, page: str, label: str, ends: State) -> Planned:
    return Planned(label, partial(webhooks.check_url.enqueue, site + page), ends, Effect.PAGE, page=page)


def _hooks(site: str) -> Iterator[Planned]:
    for number in range(HOOKS):
        yield Planned(
            "webhooks",
            partial(webhooks.deliver.enqueue, f"{site}/hooks", "order.paid", {"order": number}),
            State.SUCCEEDED,
            Effect.HOOK,
        )
    for _ in range(GONE_HOOKS):
        yield Planned(
            "webhooks, endpoint gone",
            partial(webhooks.deliver.enqueue, f"{site}/gone", "order.paid", {}),
            State.FAILED,
            Effect.HOOK,
        )


def _commands() -> Iterator[Planned]:
    for _ in range(COMMANDS):
        yield Planned("commands", partial(shell.run.enqueue, "uname", ["-s"]), State.SUCCEEDED, Effect.NONE)
    for _ in range(FAILING_COMMANDS):
        yield Planned("commands, failing", partial(shell.run.enqueue, "false"), State.FAILED, Effect.NONE)
