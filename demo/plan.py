"""What the demo submits, and how each job must end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from demo.sales_data import LAST_DAY
from penstock import Job, State
from tasks import pages, reports, sales, shell, webhooks

PAGES, MISSING_PAGES = 200, 8
SLOW_PAGES, SHAKY_PAGES, LOST_PAGES = 150, 42, 8
"""Fetched by coroutines: pages that take a while, those that are refused at first, and those that are not there."""
HOOKS, GONE_HOOKS = 60, 4
COMMANDS, FAILING_COMMANDS = 10, 4
NOTE, FAILS = "note", "false"
"""The commands that jobs run: the demo's own (see `accounts.py`), and one that leaves nothing behind."""
CANCELLED = 12
CANCELLED_DELAY = 6.0
"""Seconds that the jobs to be cancelled wait, so that there is something left to cancel."""


class Effect(StrEnum):
    """What a job leaves outside of the system when its body ran to its end."""

    PAGE = "page"
    HOOK = "hook"
    COMMAND = "command"
    REPORT = "report"
    """Files in the folder of reports."""
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
        key: what its effect is noted under; empty for the job's id.
        error: type of the error with which it must end when it must fail.
        is_cancelled: whether it is cancelled while it waits.
    """

    label: str
    submit: Callable[[], Job[Any]]
    ends: State
    effect: Effect
    key: str = ""
    error: str = ""
    is_cancelled: bool = False


def plan(site: str, effects: Path) -> list[Planned]:
    """All jobs, in the order in which they are submitted.

    Args:
        site: address of the local site.
        effects: the file to which the commands append theirs.
    """
    return [
        *_cancelled(site),
        _sales(),
        _overview(),
        *_fetched(site),
        *_pages(site),
        *_hooks(site),
        *_commands(effects),
    ]


def _cancelled(site: str) -> Iterator[Planned]:
    for number in range(CANCELLED):
        page = f"/later/{number}"
        yield Planned(
            "URL checks, cancelled",
            partial(webhooks.check_url.options(delay=CANCELLED_DELAY).enqueue, site + page),
            State.CANCELLED,
            Effect.PAGE,
            key=page,
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
        page = f"/page/{number}"
        submit = partial(webhooks.check_url.enqueue, site + page)
        yield Planned("URL checks", submit, State.SUCCEEDED, Effect.PAGE, key=page)
    for number in range(MISSING_PAGES):
        page = f"/missing/{number}"
        submit = partial(webhooks.check_url.enqueue, site + page)
        error = "tasks.webhooks.UnexpectedStatus"
        yield Planned("URL checks, page missing", submit, State.FAILED, Effect.PAGE, key=page, error=error)


def _fetched(site: str) -> Iterator[Planned]:
    for kind, number in (("slow", SLOW_PAGES), ("shaky", SHAKY_PAGES)):
        for page in (f"/{kind}/{each}" for each in range(number)):
            submit = partial(pages.fetch.enqueue, site + page)
            yield Planned("pages fetched at once", submit, State.SUCCEEDED, Effect.PAGE, key=page)
    for page in (f"/missing/fetched/{each}" for each in range(LOST_PAGES)):
        submit = partial(pages.fetch.enqueue, site + page)
        error = "tasks.webhooks.UnexpectedStatus"
        yield Planned("pages fetched, missing", submit, State.FAILED, Effect.PAGE, key=page, error=error)


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
            error="tasks.webhooks.EndpointGone",
        )


def _commands(effects: Path) -> Iterator[Planned]:
    for number in range(COMMANDS):
        submit = partial(shell.run.enqueue, NOTE, [str(effects), str(number)])
        yield Planned("commands", submit, State.SUCCEEDED, Effect.COMMAND, key=str(number))
    for _ in range(FAILING_COMMANDS):
        submit = partial(shell.run.enqueue, FAILS)
        yield Planned("commands, failing", submit, State.FAILED, Effect.NONE, error="tasks.shell.CommandFailed")
