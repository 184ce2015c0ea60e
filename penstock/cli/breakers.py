"""`celery -A workers failures breakers|open|close`: tasks that are not started, because they keep failing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from penstock.actor import actor
from penstock.cli.command import Command, Word, booked_app_of

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.operations.failures.breakers import BreakerStatus, Switched

WORD = Word()
COLOURS = {"closed": "green", "open": "bold red", "half-open": "yellow"}
COLUMNS = ("task", "state", "since", "failures", "aside", "next probe", "why")


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
      celery -A workers failures open tasks.webhooks.deliver --note "maintenance until noon"
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
        text = f"the breaker of {task} was closed"
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
    from datetime import UTC, datetime

    from rich.text import Text

    from penstock.cli.queue_table import plain_table
    from penstock.wording import distance, one_line

    if not found:
        console.print(Text("no task declares a breaker, and none is open", style="dim"))
        return
    table, now = plain_table(), datetime.now(UTC)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("failures", "aside") else "left", overflow="fold")
    for each in found:
        table.add_row(
            Text(one_line(each.task)),
            Text(each.state, style=COLOURS[each.state]),
            Text(distance(each.since, now) if each.since else "", style="dim"),
            Text(f"{each.failures:,}"),
            Text(f"{each.aside:,}"),
            Text(distance(each.next_at, now) if each.next_at else ""),
            Text(one_line(_why(each)), style="dim"),
        )
    console.print(table)
