"""Breakers of tasks: how they stand, and opening and closing them by hand."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import datetime

from penstock.app import PenstockApp
from penstock.breaker import Breaker
from penstock.broker import breakers
from penstock.broker.breakers import CLOSED, OPEN, Standing
from penstock.broker.scripts import Scripts
from penstock.engine.attempts import breaker_of
from penstock.errors import PenstockError
from penstock.operations.broker import broker_of, note
from penstock.wording import duration


@dataclass(frozen=True)
class BreakerStatus:
    """The breaker of one task at one moment."""

    task: str
    state: str
    """closed, open or half-open."""
    rule: str
    """When it opens, in words; empty: the task declares none here, and a person has opened it."""
    failures: int
    """Failed attempts that are counted while it is closed."""
    aside: int
    """Jobs that are put aside."""
    since: datetime | None = None
    next_at: datetime | None = None
    """When jobs are tried; None: it is closed, or stays open until a person closes it."""
    times: int = 0
    """How often it has opened in a row."""
    fault: str = ""
    by: str = ""
    note: str = ""


@dataclass(frozen=True)
class Switched:
    """What opening or closing by hand has done."""

    before: str
    """How the breaker stood."""
    status: BreakerStatus


def list_breakers(app: PenstockApp) -> list[BreakerStatus]:
    """Those that tasks of the app declare, and all others that are not closed; by task, these first."""
    rules = _rules(app)
    with broker_of(app) as scripts:
        standings = {each.task: each for each in breakers.standings(scripts)}
        aside = breakers.jobs_by_task(scripts)
        found = [
            _status(scripts, task, standings.get(task), rules.get(task, ""), aside[task])
            for task in sorted({*rules, *standings, *aside})
        ]
    return sorted(found, key=lambda each: each.state == CLOSED)


def open_breaker(app: PenstockApp, task: str, why: str, *, actor: str) -> Switched:
    """Has no job of the task started until somebody closes its breaker, whether it declares one or not; noted.

    Raises:
        PenstockError: the app has no such task.
        LedgerUnavailable: it is open, and that could not be noted.
    """
    _require_task(app, task)
    switched = _switch(app, task, OPEN, actor, why)
    note(app, actor, "open breaker", {"task": task, "note": why}, f"the breaker of {task} is open")
    return switched


def close_breaker(app: PenstockApp, task: str, *, actor: str) -> Switched:
    """Has jobs of the task started again, and those that are aside return to their queues; noted if it was not closed.

    Raises:
        PenstockError: the app has no such task, and no breaker of this name is open.
        LedgerUnavailable: it is closed, and that could not be noted.
    """
    with broker_of(app) as scripts:
        if breakers.standing(scripts, task) is None:
            _require_task(app, task)
    switched = _switch(app, task, CLOSED, actor, "")
    if switched.before != CLOSED:
        details = {"task": task, "was": switched.before}
        note(app, actor, "close breaker", details, f"the breaker of {task} is closed")
    return switched


def _switch(app: PenstockApp, task: str, state: str, actor: str, why: str) -> Switched:
    with broker_of(app) as scripts:
        before = scripts.switch(task, state, actor, why)
        aside = breakers.jobs_by_task(scripts)[task]
        status = _status(scripts, task, breakers.standing(scripts, task), _rules(app).get(task, ""), aside)
    return Switched(before, status)


def _rules(app: PenstockApp) -> dict[str, str]:
    app.loader.import_default_modules()
    return {name: _in_words(breaker) for name, task in app.tasks.items() if (breaker := breaker_of(task))}


def _in_words(breaker: Breaker) -> str:
    window, pause = duration(breaker.window), duration(breaker.pause)
    if breaker.ratio is not None:
        return f"{breaker.ratio:.0%} of {breaker.minimum}+ in {window}, pause {pause}"
    return f"{breaker.failures} in {window}, pause {pause}"


def _require_task(app: PenstockApp, task: str) -> None:
    app.loader.import_default_modules()
    if task not in app.tasks:
        close = difflib.get_close_matches(task, app.tasks, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else "; `failures breakers` lists those with a breaker"
        raise PenstockError(f"this app has no task {task}{hint}")


def _status(scripts: Scripts, task: str, standing: Standing | None, rule: str, aside: int) -> BreakerStatus:
    if standing is None:
        return BreakerStatus(task, CLOSED, rule, breakers.failures_in_window(scripts, task), aside)
    return BreakerStatus(
        task=task,
        state=standing.state,
        rule=rule,
        failures=0,
        aside=aside,
        since=standing.since,
        next_at=standing.next_at,
        times=standing.times,
        fault=standing.fault,
        by=standing.by,
        note=standing.note,
    )
