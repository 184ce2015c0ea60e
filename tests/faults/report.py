"""What all runs of a row amount to: the table in the terminal, docs/faults.md, and whether the command passes."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.faults.judge import Verdict
from tests.faults.scenario import WINDOWS, Scenario
from tests.faults.sides import LATE, OURS, SIDES, STOCK

NOTHING = "-"
KINDS = ("lost", "doubled", "stuck")
PARTS = ("pool", "consumer", "transport", "backend", "store")
"""Of a worker's portrait: what is shown."""
OTHERS = ("repeated", "wrong", "reordered")


@dataclass
class Tally:
    """The sum of one side's runs of one scenario."""

    runs: int = 0
    jobs: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    repeated: int = 0
    wrong: int = 0
    reordered: int = 0
    recovery: float | None = None
    slow: int = 0
    """Runs whose recovery took longer than the bound."""
    reasons: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Runs that showed nothing, and why."""
    skipped: str = ""
    """Why this machine cannot play it."""

    def add(self, verdict: Verdict, jobs: int, remarks: Iterable[str], bound: float) -> None:
        """Counts one run."""
        self.runs += 1
        self.jobs += jobs
        for kind in (*KINDS, *OTHERS):
            setattr(self, kind, getattr(self, kind) + len(getattr(verdict, kind)))
        if verdict.recovery is not None:
            self.recovery = max(self.recovery or 0.0, verdict.recovery)
            self.slow += verdict.recovery > bound
        self.reasons += verdict.reasons
        self.remarks += [remark for remark in remarks if remark not in self.remarks]

    @property
    def damages(self) -> set[str]:
        """The kinds of harm that jobs came to; a start that is too late is one."""
        return {kind for kind in (*KINDS, *OTHERS, "slow") if getattr(self, kind)}

    @property
    def cell(self) -> str:
        """`lost / doubled / stuck`, and in words what else is wrong."""
        if not self.runs:
            return "no run" if self.errors else self.skipped or NOTHING
        words = [" / ".join(str(getattr(self, kind)) for kind in KINDS)]
        words += [f"{getattr(self, kind)} {kind}" for kind in OTHERS if getattr(self, kind)]
        return ", ".join([*words, *(["late"] if self.slow else [])])


@dataclass
class Row:
    """One scenario on all its sides."""

    scenario: Scenario
    tallies: dict[str, Tally]

    @property
    def problems(self) -> list[str]:
        """Why this row does not pass; empty when it does."""
        where = f"{self.scenario.window} {self.scenario.name}"
        found = [f"{where}, {side}: {error}" for side, tally in self.tallies.items() for error in tally.errors]
        stock = [self.tallies[side.name] for side in (STOCK, LATE) if side.name in self.tallies]
        if any(tally.runs for tally in stock):
            shown = any(tally.damages for tally in stock)
            if not shown and not self.scenario.not_reproducible:
                found.append(f"{where}: stock shows no damage, and the row does not say why")
        ours = self.tallies.get(OURS.name)
        if ours is not None and ours.damages - set(self.scenario.covered):
            found += [f"{where}: ours shows damage: {ours.cell}", *(f"  {reason}" for reason in ours.reasons[:5])]
        return found

    @property
    def cells(self) -> list[str]:
        """The row as text."""
        shown = [self.tallies.get(side.name, Tally()) for side in SIDES]
        return [
            self.scenario.window,
            ". ".join(part for part in (self.scenario.fault, *self._remarks()) if part),
            str(max(tally.runs for tally in shown)),
            str(max(tally.jobs for tally in shown)),
            *(tally.cell for tally in shown),
            _seconds(max((tally.recovery for tally in shown[:2] if tally.recovery is not None), default=None)),
            _seconds(shown[2].recovery),
            f"{self.scenario.bound:g}",
        ]

    def _remarks(self) -> list[str]:
        stated = [self.scenario.remark]
        if self.scenario.not_reproducible:
            stated.append(f"not reproducible: {self.scenario.not_reproducible}")
        if self.scenario.limit:
            stated.append(f"limit: {self.scenario.limit}")
        seen = [f"{side}: {'; '.join(tally.remarks)}" for side, tally in self.tallies.items() if tally.remarks]
        return [*stated, *seen]


HEADINGS = (
    "window",
    "fault",
    "runs",
    "jobs",
    *(side.name for side in SIDES),
    "recovery, stock (s)",
    "recovery, ours (s)",
    "bound (s)",
)


def problems(rows: Sequence[Row], *, complete: bool) -> list[str]:
    """Why the command fails; empty when it passes."""
    missing = sorted(set(WINDOWS) - {row.scenario.window for row in rows}) if complete else []
    return [*(f"{window} has no row" for window in missing), *(text for row in rows for text in row.problems)]


def show(rows: Sequence[Row], console: Console) -> None:
    """The table in the terminal; lost / doubled / stuck for each side."""
    table = Table(*HEADINGS, title="lost / doubled / stuck", show_lines=True)
    for row in rows:
        ours = row.tallies.get(OURS.name)
        table.add_row(*row.cells, style="red" if row.problems else "" if ours and ours.runs else "dim")
    console.print(table)


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Every figure and every reason."""
    return [
        {
            "window": row.scenario.window,
            "scenario": row.scenario.name,
            "fault": row.scenario.fault,
            "bound": row.scenario.bound,
            "sides": {side: asdict(tally) for side, tally in row.tallies.items()},
            "problems": row.problems,
        }
        for row in rows
    ]


def write(rows: Sequence[Row], portraits: dict[str, dict[str, Any]], path: Path, *, quick: bool, server: str) -> None:
    """The page."""
    path.write_text(
        PAGE.format(
            kind="a quick run" if quick else "a full run",
            versions=", ".join(f"{name} {version(name)}" for name in ("celery", "kombu", "redis")),
            server=server,
            python=platform.python_version(),
            sides="\n".join(_markdown_row(line) for line in _side_lines(portraits)),
            stock_beat=STOCK.scheduler,
            our_beat=OURS.scheduler,
            head=_markdown_row(HEADINGS),
            rule=_markdown_row(["---"] * len(HEADINGS)),
            rows="\n".join(_markdown_row(row.cells) for row in rows),
        )
    )


def _side_lines(portraits: dict[str, dict[str, Any]]) -> list[list[str]]:
    return [
        [side.name, *(f"`{portrait[part]}`" for part in PARTS)]
        for side in SIDES
        for label, portrait in sorted(portraits.items())
        if label.startswith(f"{side.name} on ")
    ]


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


PAGE = """# Faults: stock Celery and ours

Written by `make faults`, which plays each fault with real processes: {kind}. Do not edit.
Versions: {versions} (redis-py), {server}, Python {python}.

Each figure is *lost / doubled / stuck*, summed over the runs. Neither side judges itself: tasks append a line to a file
outside the system when they start and when they end, and that is compared with the result store and with all of Redis.
In the rows of W8 to W12, SQL and poison both sides keep their results in SQL: stock Celery by its own database backend.
In those of W22 both sides have the same `beat_schedule`, what counts are its planned times, and the beats are stock's
`{stock_beat}` and ours, `{our_beat}`, whose books are its rows.

- **lost**: accepted, and neither done nor anywhere in Redis or an outbox; or failed only because a process died; or a
  revoke that did nothing; or a message whose bytes are gone; or a planned time that has started no job, and nothing on
  the books says why.
- **doubled**: started while another start of it was alive, or again though no retry was asked for and no process of it
  was killed; or a planned time that has started two jobs.
- **stuck**: still waits or runs, or has no outcome in the store, when the bound and five seconds are over; or a planned
  time whose job starts only then; on our side also: has ended, and its message is still to be delivered.
- **repeated**: started again after its result was stored by a process that was killed before it could say so.
  **wrong**: an outcome that changed, or that is not of an attempt that ended; or a process that grew by more than
  64 MB. **reordered**: started before a job that was accepted earlier. **late**: done, but started again later than
  the bound.
- **recovery**: the longest time from a fault to the next start of a job that it interrupted.

The command fails when a window has no row, when stock Celery shows no damage in a row that does not say why, and when
ours shows any but what the row's *limit* names, which is what the guarantees leave open.

| side | pool | consumer | transport | result store | on |
| --- | --- | --- | --- | --- | --- |
{sides}

*stock* is Celery as it comes, which acknowledges early; *stock, acks late* sets `task_acks_late`.

{head}
{rule}
{rows}
"""
