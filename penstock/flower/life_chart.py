"""A job's life as a picture: a bar for each time in which it waited or ran, all on one axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tornado.escape import xhtml_escape

from penstock.operations.jobs.timeline import Phase
from penstock.wording import duration, printable

WIDTH, LEFT, RIGHT, TOP = 760, 150, 12, 8
ROW, BAR, AXIS = 26, 14, 24
MOST_LETTERS = 16
"""Of how an attempt ended, so that its length has room as well."""
MOST_ROWS = 24
NARROWEST = 2.0
"""Of a bar, so that what took no time is seen."""
TICKS = 4
COLOURS = {
    "": "a", "succeeded": "b", "failed": "c", "crashed": "c", "lost": "c", "retried": "d", "requeued": "d",
    "snoozed": "d",
}  # fmt: skip
"""Classes of the style sheet by how an attempt ended; without an end it runs."""


@dataclass(frozen=True)
class _Axis:
    beginning: datetime
    seconds: float

    def x(self, moment: datetime) -> float:
        part = (moment - self.beginning).total_seconds() / self.seconds
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(part, 0.0), 1.0)


def life_chart(phases: Sequence[Phase], beginning: datetime, now: datetime, due: datetime | None = None) -> str:
    """The last rows of a life, one for each attempt with the time that it had waited before.

    Args:
        now: until when a phase goes on that has not ended.
        due: when a job that waits will start; the axis goes on until then.
    """
    rows = _rows(phases)
    if not rows:
        return ""
    hidden, rows = rows[:-MOST_ROWS], rows[-MOST_ROWS:]
    start = hidden[-1][-1].end or beginning if hidden else beginning
    ends = [phase.end or now for row in rows for phase in row] + ([due] if due and due > now else [])
    axis = _Axis(start, max((max(ends) - start).total_seconds(), 1e-3))
    height = TOP + ROW * len(rows) + AXIS
    body = [*_grid(axis, height), *(part for place, row in enumerate(rows) for part in _row(axis, place, row, now))]
    if due and due > now:
        body.append(_due(axis, due, now, height))
    told = "; ".join(_told(phase, now) for row in rows for phase in row)
    return (
        f'<svg class="chart life-chart" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{xhtml_escape(f"The job by time: {told}")}">{"".join(body)}</svg>'
    )


def _rows(phases: Sequence[Phase]) -> list[list[Phase]]:
    """An attempt and the waiting before it are one row."""
    rows: list[list[Phase]] = []
    for phase in phases:
        if rows and rows[-1][-1].attempt is None:
            rows[-1].append(phase)
        else:
            rows.append([phase])
    return rows


def _grid(axis: _Axis, height: int) -> Iterator[str]:
    bottom = height - AXIS + 4
    for tick in range(TICKS + 1):
        x = LEFT + (WIDTH - LEFT - RIGHT) * tick / TICKS
        anchor = "start" if tick == 0 else "end" if tick == TICKS else "middle"
        text = "0" if tick == 0 else duration(axis.seconds * tick / TICKS)
        yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>'
        yield f'<text x="{x:.1f}" y="{height - 5}" text-anchor="{anchor}">{text}</text>'


def _row(axis: _Axis, place: int, row: Sequence[Phase], now: datetime) -> Iterator[str]:
    y = TOP + ROW * place + (ROW - BAR) / 2
    last = row[-1]
    yield f'<text x="{LEFT - 8}" y="{y + BAR - 3:.1f}" text-anchor="end">{xhtml_escape(_label(last, now))}</text>'
    for phase in row:
        start, end = axis.x(phase.start), axis.x(phase.end or now)
        colour = COLOURS.get(phase.outcome, "waits") if phase.attempt else "waits"
        width = max(end - start, NARROWEST)
        yield (
            f'<rect class="{colour}" x="{min(start, WIDTH - RIGHT - width):.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{BAR}" rx="2"><title>{xhtml_escape(_told(phase, now))}</title></rect>'
        )


def _label(phase: Phase, now: datetime) -> str:
    text = f"{phase.attempt}. {_end(phase)}" if phase.attempt else "waits"
    return f"{printable(text)[:MOST_LETTERS]}, {duration(phase.seconds(now))}"


def _told(phase: Phase, now: datetime) -> str:
    word = f"{phase.name} {_end(phase)}" if phase.attempt else ("waited" if phase.end else "waits")
    return printable(f"{word}, {duration(phase.seconds(now))}")


def _end(phase: Phase) -> str:
    return phase.outcome or ("ended" if phase.end else "runs")


def _due(axis: _Axis, due: datetime, now: datetime, height: int) -> str:
    x = axis.x(due)
    return (
        f'<line class="due" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - AXIS + 4}">'
        f"<title>due in {duration((due - now).total_seconds())}</title></line>"
    )
