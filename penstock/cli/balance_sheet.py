"""The balance sheet for people, as a table with a column for each queue, and for machines, as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from penstock.cli.output import COLOURS, GAP
from penstock.job import State
from penstock.operations.books.account import Account, Verdict
from penstock.operations.books.auditing import Report
from penstock.operations.books.examination import FAULTS, Kind, Problem
from penstock.operations.books.lines import BESIDE, Line, lines_of
from penstock.operations.books.remarks import remarks_on
from penstock.wording import one_line

NAME_WIDTH = 16
"""Columns of a terminal that a queue's name may take."""
VERDICT_COLOURS = {Verdict.BALANCED: "green", Verdict.NOT_BALANCED: "bold red", Verdict.CANNOT_TELL: "bold yellow"}
KIND_COLOURS = {Kind.LOST: "bold red", Kind.TAKEN: "bold red", Kind.RELAYED: "yellow", Kind.WORKERLESS: "yellow"}


STYLES = {
    "unpublished": "yellow",
    "+ to be published again": "yellow",
    "+ parked": "yellow",
    "+ blocked": "bold yellow",
    "+ in flight": "cyan",
    "+ running without a claim": "cyan",
    "+ replaced by a chain": "yellow",
    "+ purged": "magenta",
    "+ taken by stock workers": "magenta",
    **{f"+ {state}": COLOURS[state] for state in State if state.is_final},
}
"""Of lines of the sheet, by their labels."""
UNDERLINED = ("accepted", "accounted for")
"""What is a sum of the lines above it."""


def print_report(console: Console, report: Report) -> None:
    """The sheet, what breaks the balance, and the verdict; on a pipe the sheet alone, and the rest on stderr."""
    if console.is_terminal:
        _print_sheet(console, report.sheet.accounts)
        _print_problems(console, report)
        console.print(Text(report.sentence, style=VERDICT_COLOURS[report.verdict]), soft_wrap=False)
        for remark in remarks_on(report):
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
    lines = lines_of(accounts)
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
        put(Text(line.label, style="bold" if line.is_sum else "dim" if line in BESIDE else ""), cells)
    console.print()


def _shown(amount: int) -> str:
    return f"{amount:,}" if amount else "·"


def _style(line: Line) -> str:
    return "dim" if line in BESIDE else STYLES.get(line.label, "")


def _cell(line: Line, amount: int) -> Text:
    if line.label == "difference":
        return Text(f"{amount:+,}" if amount else "0", style="bold red" if amount else "bold green")
    style = "bold" if line.is_sum else _style(line)
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


def columns_of(account: Account) -> list[str]:
    """Queue, accepted, unpublished, ready, parked, blocked, in flight, succeeded, failed, cancelled, purged,
    elsewhere, difference.
    """
    held, booked = account.held, account.booked
    ended = [booked.ended[state] for state in State if state.is_final]
    numbers = [account.accepted, booked.unpublished + booked.again, held.ready, held.parked, held.blocked]
    numbers += [held.in_flight, *ended, held.purged, held.elsewhere, account.difference]
    return [one_line(account.queue), *map(str, numbers)]
