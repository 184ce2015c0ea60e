"""`celery -A workers failures breakers|open|close`: tasks that are not started, because they keep failing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from penstock.actor import actor
from penstock.cli.command import Command, Word, booked_app_of

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console
    from rich.text import Text

    from penstock.operations.failures.breakers import BreakerStatus, Switched

WORD = Word()
COLOURS = {"closed": "green", "open": "bold red", "half-open": "yellow"}
COLUMNS = ("task", "state", "since", "failures", "aside", "next probe")
NARROWEST_TASK, NARROWEST_WHY = 16, 50


@click.command("breakers", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="One JSON array with every number.")
@click.pass_context
def list_breakers(context: click.Context, /, as_json: bool) -> None:
    """Lists the breakers of tasks: which are open, what they were opened by, and what they have put aside.

    \b
    closed     jobs start; `failures` of its window are counted
    open       jobs are put aside until the next probe; one that a person has
               opened stays open until `failures close`
    half-open  single jobs are tried: success closes it, failure opens it again

    In a pipe each is one line of tab-separated columns: task, state, since, failures, aside, next probe, why.

    \b
    Examples:
      celery -A workers failures breakers
      celery -A workers failures breakers --json
    """
    from dataclasses import asdict

    from penstock.cli.output import console_of, print_json
    from penstock.operations.failures import breakers

    found = breakers.list_breakers(booked_app_of(context))
    console = console_of(context)
    if as_json:
        print_json([asdict(each) for each in found])
    elif console.is_terminal:
        _print_table(console, found)
    else:
        for each in found:
            click.echo("\t".join(_columns(each)))


@click.command("open", cls=Command)
@click.argument("task", type=WORD)
@click.option("--note", type=WORD, help="Why, for those who find it open.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: how it stood, and how it stands.")
@click.pass_context
def open_breaker(context: click.Context, /, task: str, note: str | None, as_json: bool) -> None:
    """Opens the breaker of TASK: within about a second no worker starts a job of it, until `failures close`.

    Its jobs are put aside, and none is lost; other tasks of its queues go on. TASK need not declare a breaker. Noted in
    the audit.

    \b
    Examples:
      celery -A workers failures open tasks.webhooks.deliver --note "until noon"
    """
    from penstock.operations.failures import breakers

    switched = breakers.open_breaker(booked_app_of(context), task, note or "", actor=actor())
    _tell(switched, f"{task} is not started any more; `failures close {task}` ends that", as_json)


@click.command("close", cls=Command)
@click.argument("task", type=WORD)
@click.option("--json", "as_json", is_flag=True, help="One JSON object: how it stood, and how it stands.")
@click.pass_context
def close_breaker(context: click.Context, /, task: str, as_json: bool) -> None:
    """Closes the breaker of TASK: its jobs start again, and a running worker brings back those that are aside.

    They go to the end of their queues, in their order. Noted in the audit.

    \b
    Examples:
      celery -A workers failures close tasks.webhooks.deliver
    """
    from penstock.operations.failures import breakers
    from penstock.wording import counted

    switched = breakers.close_breaker(booked_app_of(context), task, actor=actor())
    if switched.before == "closed":
        text = f"the breaker of {task} was closed already"
    else:
        jobs = switched.status.aside
        text = f"{task} is started again" + (f", with {counted(jobs, 'job')} that waited aside" if jobs else "")
    _tell(switched, text, as_json)


def _tell(switched: Switched, text: str, as_json: bool) -> None:
    from dataclasses import asdict

    from penstock.cli.output import print_json

    if as_json:
        print_json(asdict(switched))
    else:
        click.echo(text)


def _columns(each: BreakerStatus) -> list[str]:
    from penstock.wording import one_line

    since, next_at = (moment.isoformat() if moment else "" for moment in (each.since, each.next_at))
    return [one_line(each.task), each.state, since, str(each.failures), str(each.aside), next_at, one_line(_why(each))]


def _why(each: BreakerStatus) -> str:
    if each.by:
        return f"opened by {each.by}" + (f": {each.note}" if each.note else "")
    return each.fault or each.rule


def _print_table(console: Console, found: list[BreakerStatus]) -> None:
    """Why a breaker is as it is stands at the end of its line, or below where that is too narrow."""
    from datetime import UTC, datetime

    from rich.text import Text

    from penstock.cli.output import GAP, print_rows
    from penstock.wording import one_line

    if not found:
        console.print(Text("no task declares a breaker, and none is open", style="dim"))
        return
    now = datetime.now(UTC)
    whys = [Text(one_line(_why(each)), style="dim") for each in found]
    lines = _fitted(
        [[Text(heading, style="dim") for heading in COLUMNS], *(_cells(each, now) for each in found)], console
    )
    room = console.width - lines[0].cell_len - GAP
    if room >= min(max(why.cell_len for why in whys), NARROWEST_WHY):
        print_rows(console, list(zip(lines, [Text("why", style="dim"), *whys], strict=True)))
        return
    console.print(lines[0])
    for line, why in zip(lines[1:], whys, strict=True):
        console.print(line)
        print_rows(console, [[why]], indent=GAP)


def _cells(each: BreakerStatus, now: datetime) -> list[Text]:
    from rich.text import Text

    from penstock.wording import distance, one_line

    return [
        Text(one_line(each.task), style="bold"),
        Text(each.state, style=COLOURS[each.state]),
        Text(distance(each.since, now) if each.since else "", style="dim"),
        Text(f"{each.failures:,}"),
        Text(f"{each.aside:,}"),
        Text(distance(each.next_at, now) if each.next_at else ""),
    ]


def _fitted(rows: list[list[Text]], console: Console) -> list[Text]:
    """Lines of columns; tasks give way where they are too wide, and keep their ends."""
    from rich.text import Text

    from penstock.cli.output import GAP

    widths = [max(row[place].cell_len for row in rows) for place in range(len(COLUMNS))]
    excess = sum(widths) + GAP * (len(widths) - 1) - console.width
    widths[0] -= max(0, min(excess, widths[0] - NARROWEST_TASK))
    for task, *numbers in rows:
        if task.cell_len > widths[0]:
            task.plain = f"…{task.plain[1 - widths[0] :]}"
        for name, cell, width in zip(COLUMNS, (task, *numbers), widths, strict=True):
            cell.align("right" if name in ("failures", "aside") else "left", width)
    return [Text(" " * GAP).join(row) for row in rows]
