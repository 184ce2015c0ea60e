"""Workers for people, as tables, and for machines, as lines or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from penstock.cli.output import print_rows
from penstock.cli.queue_table import plain_table
from penstock.operations.wording import short_id
from penstock.operations.workers.view import Child, Told, Verdict, WorkerView
from penstock.wording import counted, duration, one_line

COLOURS = {
    Verdict.STUCK: "bold red",
    Verdict.DRAINING: "yellow",
    Verdict.PAUSED: "magenta",
    Verdict.ANSWERS: "default",
    Verdict.WELL: "green",
}
KIB_OF_MIB = 1024


def as_json(view: WorkerView) -> dict[str, Any]:
    """Everything; ``told`` is null for a worker that does not answer."""
    return asdict(view)


def print_table(console: Console, views: Sequence[WorkerView]) -> None:
    """A heading, the workers, and how many are stuck."""
    table = plain_table()
    for name in ("worker", "state", "at work", "memory"):
        table.add_column(name, no_wrap=True, justify="right" if name == "memory" else "left")
    table.add_column("why", overflow="fold")
    for view in views:
        told = view.told
        table.add_row(
            Text(one_line(view.name), style="bold"),
            Text(view.verdict.value, style=COLOURS[view.verdict]),
            Text(f"{len(told.running)} of {len(told.children)}" if told else ""),
            Text(_mebibytes(told.memory_kib) if told and told.processes else ""),
            Text("\n".join(map(one_line, view.why))),
        )
    if views:
        console.print(table)
    stuck = sum(view.verdict is Verdict.STUCK for view in views)
    summary = f"{counted(len(views), 'worker')}, {stuck} stuck" if views else "no worker runs"
    console.print(Text(summary, style="dim"))


def print_lines(views: Sequence[WorkerView]) -> None:
    """One worker a line, separated by tabs; nothing is cut, and what nobody knows is empty."""
    for view in views:
        told = view.told
        numbers = (told.jobs, len(told.children), told.memory_kib) if told else ("", "", "")
        queues = ",".join(told.queues) if told else ""
        columns = (view.name, view.verdict.value, *numbers, queues, "; ".join(view.why))
        click.echo("\t".join(one_line(str(column)) for column in columns))


def print_worker(console: Console, view: WorkerView) -> None:
    """How it is, what its children do, and what its processes take."""
    state = Text(view.verdict.value, style=COLOURS[view.verdict])
    console.print(Text(one_line(view.name), style="bold").append("  ").append_text(state))
    rows = [("", reason) for reason in view.why]
    if view.told is not None:
        rows += list(_facts(view, view.told))
    print_rows(console, [(Text(name, style="dim"), Text(one_line(value))) for name, value in rows], indent=2)
    if view.told is not None and view.told.children:
        _print_children(console, view.told)


def _facts(view: WorkerView, told: Told) -> Sequence[tuple[str, str]]:
    facts = [("queues", ", ".join(told.queues) or "none")]
    if view.paused:
        facts.append(("paused", ", ".join(view.paused)))
    if told.stopped:
        facts.append(("told to stop", ", ".join(told.stopped)))
    if view.lease is not None:
        facts.append(("lease", f"renewed {duration(view.lease.renewed_seconds_ago)} ago ({view.lease.worker})"))
    if told.up_seconds is not None:
        facts.append(("up for", duration(told.up_seconds)))
    if told.processes:
        facts.append(("memory", _mebibytes(told.memory_kib)))
        facts += [
            (process.role, f"{process.pid}, {_mebibytes(process.memory_kib)}{' stopped' if process.is_stopped else ''}")
            for process in told.processes
            if process.role != "child"
        ]
    return facts


def _print_children(console: Console, told: Told) -> None:
    heading = [Text(name, style="dim") for name in ("child", "state", "memory", "done", "for", "runs")]
    print_rows(console, [heading, *(_child(child, told) for child in told.children)], indent=2)


def _child(child: Child, told: Told) -> list[Text]:
    process = told.process(child.pid)
    is_stopped = process is not None and process.is_stopped
    job = f" {short_id(child.job)}" if child.job else ""
    return [
        Text(str(child.pid or "")),
        Text(
            f"{'stopped' if is_stopped else child.state} {child.busy}".strip(), style="bold red" if is_stopped else ""
        ),
        Text(_mebibytes(process.memory_kib) if process else ""),
        Text("" if child.done is None else f"{child.done:,}"),
        Text("" if child.seconds is None else duration(child.seconds)),
        Text(one_line(f"{child.task or ''}{job}")),
    ]


def _mebibytes(kib: float) -> str:
    return f"{kib / KIB_OF_MIB:,.1f} MiB"
