"""What a person sees while the demo runs: a bar for each kind of job, or lines where there is no terminal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from demo.accounts import Accepted
from penstock.ledger.rows import JobRow

TICK = 0.3
LINE_EVERY = 5.0


class TooSlow(Exception):
    """The jobs have not ended in time."""


def watch(accepted: Sequence[Accepted], look: Callable[[], Sequence[JobRow]], console: Console, timeout: float) -> None:
    """Shows how many jobs of each kind have ended, until all have.

    Args:
        look: reads the rows of the accepted jobs.
        timeout: seconds; raises TooSlow when they are over.
    """
    labels = {job.id: job.label for job in accepted}
    deadline = time.monotonic() + timeout
    next_line = time.monotonic() + LINE_EVERY
    columns = (
        TextColumn("{task.description:24}"),
        BarColumn(),
        TextColumn("{task.completed:>4.0f} of {task.total:.0f}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as progress:
        bars = {label: progress.add_task(label, total=total) for label, total in Counter(labels.values()).items()}
        while True:
            ended = Counter(labels[row.id] for row in look() if row.state.is_final)
            _draw(progress, bars, ended)
            if ended.total() == len(accepted):
                return
            if time.monotonic() > deadline:
                raise TooSlow(
                    f"{len(accepted) - ended.total()} of {len(accepted)} jobs have not ended in {timeout:g} s"
                )
            if not console.is_terminal and time.monotonic() > next_line:
                console.print(f"  {ended.total()} of {len(accepted)} jobs have ended")
                next_line += LINE_EVERY
            time.sleep(TICK)


def _draw(progress: Progress, bars: dict[str, TaskID], ended: Counter[str]) -> None:
    for label, bar in bars.items():
        progress.update(bar, completed=ended[label])
