"""The balance sheet for people, as a table with a column for each queue, and for machines, as lines or JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from penstock.cli.account import Account, Verdict
from penstock.cli.auditing import Report
from penstock.cli.examination import FAULTS, Kind, Problem
from penstock.cli.output import COLOURS, GAP
from penstock.job import State
from penstock.operations.wording import counted, one_line

NAME_WIDTH = 16
"""Columns of a terminal that a queue's name may take."""
VERDICT_COLOURS = {Verdict.BALANCED: "green", Verdict.NOT_BALANCED: "bold red", Verdict.CANNOT_TELL: "bold yellow"}
KIND_COLOURS = {Kind.LOST: "bold red", Kind.TAKEN: "bold red", Kind.RELAYED: "yellow", Kind.WORKERLESS: "yellow"}


@dataclass(frozen=True)
class Line:
    """One line of the sheet."""

    label: str
    amount: Callable[[Account], int]
    style: str = ""
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
    Line("unpublished", lambda account: account.booked.unpublished, "yellow"),
    Line("+ to be published again", lambda account: account.booked.again + account.found.relayed, "yellow"),
    Line("+ ready", lambda account: account.held.ready, is_kept=True),
    Line("+ parked", lambda account: account.held.parked, "yellow"),
    Line("+ blocked", lambda account: account.held.blocked, "bold yellow"),
    Line("+ in flight", lambda account: account.held.in_flight, "cyan", is_kept=True),
    Line("+ running without a claim", lambda account: account.found.early, "cyan"),
    Line("+ replaced by a chain", lambda account: account.found.awaiting, "yellow"),
    Line("+ buried a moment ago", lambda account: account.held.buried),
    Line("- of stock producers", lambda account: -account.found.foreign),
    Line("- of jobs that have ended", lambda account: -account.found.late),
    Line("- second messages", lambda account: -account.found.twice),
    *(Line(f"+ {state}", _ended(state), COLOURS[state], is_kept=True) for state in State if state.is_final),
    Line("+ purged", lambda account: account.held.purged, "magenta"),
    Line("+ taken by stock workers", lambda account: account.held.elsewhere, "magenta"),
    Line("accounted for", lambda account: account.accounted, is_sum=True, is_kept=True),
    Line("difference", lambda account: account.difference, is_sum=True, is_kept=True),
)
BESIDE = (
    *(Line(f"stock producers' {state}", _of_stock(state), "dim") for state in State if state.is_final),
    Line("quarantined a moment ago", lambda account: account.held.quarantined, "dim"),
    *(Line(f"rows that are {state}", _open(state), "dim") for state in State if not state.is_final),
)
UNDERLINED = ("accepted", "accounted for")
"""What is a sum of the lines above it."""


def print_report(console: Console, report: Report) -> None:
    """The sheet, what breaks the balance, and the verdict; on a pipe the sheet alone, and the rest on stderr."""
    if console.is_terminal:
        _print_sheet(console, report.sheet.accounts)
        _print_problems(console, report)
        console.print(Text(report.sentence, style=VERDICT_COLOURS[report.verdict]), soft_wrap=False)
        for remark in _remarks(report):
            console.print(Text(remark, style="dim"))
        return
    for account in report.sheet.accounts:
        click.echo("\t".join(columns_of(account)))
    for problem in report.problems:
        click.echo(one_line(f"{problem.kind} {problem.job_id}: {problem.text}; {problem.remedy}"), err=True)
    click.echo(f"penstock: {report.sentence}", err=True)


@dataclass(frozen=True)
class Column:
    """A queue, or all of them."""

    name: str
    amounts: list[int]
    """One for each line."""

    @property
    def width(self) -> int:
        """In characters."""
        return max(min(len(self.name), NAME_WIDTH), *(len(_shown(amount)) for amount in self.amounts))


def _print_sheet(console: Console, accounts: Sequence[Account]) -> None:
    """As many columns side by side as there is room for, and the rest below."""
    lines = [line for line in (*LINES, *BESIDE) if line.is_kept or any(line.amount(account) for account in accounts)]
    label = max(len(line.label) for line in lines)
    columns = [Column(one_line(each.queue), [line.amount(each) for line in lines]) for each in accounts]
    if len(columns) > 1:
        sums = [sum(amounts) for amounts in zip(*(column.amounts for column in columns), strict=True)]
        columns.append(Column("all", sums))
    block: list[Column] = []
    for column in columns:
        if block and label + sum(GAP + each.width for each in (*block, column)) > console.width:
            _print_block(console, block, lines, label)
            block = []
        block.append(column)
    if block:
        _print_block(console, block, lines, label)


def _print_block(console: Console, columns: Sequence[Column], lines: Sequence[Line], label: int) -> None:
    def put(title: Text, cells: Sequence[Text]) -> None:
        title.align("left", label)
        for cell, column in zip(cells, columns, strict=True):
            cell.truncate(column.width, overflow="ellipsis")
            cell.align("right", column.width)
            title.append(" " * GAP).append_text(cell)
        console.print(title, soft_wrap=True)

    put(Text(), [Text(column.name, style="dim") for column in columns])
    for place, line in enumerate(lines):
        if line.label in UNDERLINED and place:
            put(Text(), [Text("─" * column.width, style="dim") for column in columns])
        if line in BESIDE and lines[place - 1] not in BESIDE:
            put(Text("beside", style="dim"), [Text() for _ in columns])
        cells = [_cell(line, column.amounts[place]) for column in columns]
        put(Text(line.label, style="bold" if line.is_sum else line.style if line in BESIDE else ""), cells)
    console.print()


def _shown(amount: int) -> str:
    return f"{amount:,}" if amount else "·"


def _cell(line: Line, amount: int) -> Text:
    if line.label == "difference":
        return Text(f"{amount:+,}" if amount else "0", style="bold red" if amount else "bold green")
    style = "bold" if line.is_sum else line.style
    return Text(_shown(amount), style=style if amount else "dim")


def _print_problems(console: Console, report: Report) -> None:
    for problem in report.problems:
        _print_problem(console, problem)
    counts = report.examination.counts if report.examination else {}
    for kind, count in counts.items():
        if more := count - sum(problem.kind is kind for problem in report.problems):
            option = "--limit" if report.is_deep or kind in FAULTS else "--deep"
            console.print(Text(f"{more:,} more: {kind}; {option} names them", style="dim"))
    if counts:
        console.print()


def _print_problem(console: Console, problem: Problem) -> None:
    head = Text(problem.kind.value, style=KIND_COLOURS.get(problem.kind, "dim"))
    names = (problem.job_id, problem.task, f"({problem.queue})")
    head.append(f"  {one_line(' '.join(name for name in names if name))}", style="not bold not dim default")
    console.print(head)
    console.print(Padding(Text(one_line(problem.text)), (0, 0, 0, 2)))
    console.print(Padding(Text(f"→ {one_line(problem.remedy)}", style="dim"), (0, 0, 0, 2)))


def _remarks(report: Report) -> Iterator[str]:
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


def columns_of(account: Account) -> list[str]:
    """Queue, accepted, unpublished, ready, parked, blocked, in flight, succeeded, failed, cancelled, purged,
    elsewhere, difference.
    """
    held, booked = account.held, account.booked
    ended = [booked.ended[state] for state in State if state.is_final]
    numbers = [account.accepted, booked.unpublished + booked.again, held.ready, held.parked, held.blocked]
    numbers += [held.in_flight, *ended, held.purged, held.elsewhere, account.difference]
    return [one_line(account.queue), *map(str, numbers)]


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
