"""Charts as SVG, drawn here: no script has to run, they take the colours of Flower's themes, and readers of screens are
told what they show. The numbers stand in a table beside each, for whoever would rather read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tornado.escape import xhtml_escape

WIDTH, HEIGHT = 480, 170
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 10, 22
"""Room around the plot for letters."""
TIMES_SHOWN = 5
ONE_DAY = timedelta(hours=25)
"""Of hours, with both ends; beyond it times are told by their days."""
MINUTES = timedelta(minutes=10)
"""Within which times are told with their seconds."""
COLOURS = "abcd"
"""Classes of the style sheet, in the order of the lines."""
STEPS = (1, 2, 5, 10)


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: for the legend.
        values: one for each time; None where nobody has measured, which leaves a gap.
    """

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Scale:
    """From values to places on the plot."""

    top: float
    count: int

    def x(self, index: float) -> float:
        """Of the value with this number."""
        return LEFT + (WIDTH - LEFT - RIGHT) * index / max(self.count - 1, 1)

    def y(self, value: float) -> float:
        """Of a value."""
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / self.top)


def line_chart(title: str, times: Sequence[datetime], lines: Sequence[Line], zone: str, unit: str = "") -> str:
    """Lines over time, at most four of them.

    Args:
        title: what is shown, for people who do not see it.
        times: of the values, at equal distances.
        zone: in which the times are written.
        unit: follows the numbers: ``s`` for seconds, ``/s``.
    """
    known = [value for line in lines for value in line.values if value is not None]
    if not known or len(times) < 2:
        return f'<p class="empty-table-message">{xhtml_escape(title)}: nothing has been measured in this time yet.</p>'
    scale = Scale(rounded_up(max(known)), len(times))
    body = [
        *_grid(scale, unit),
        *_times(scale, times, zone),
        *(part for number, line in enumerate(lines) for part in _line(scale, line, COLOURS[number])),
    ]
    return _framed(f"{title}: {_told(lines, unit)}", body) + _legend(lines)


def bar_chart(title: str, times: Sequence[datetime], values: Sequence[float], zone: str, colour: str = "c") -> str:
    """A bar for each time."""
    if not any(values):
        return f'<p class="empty-table-message">{xhtml_escape(title)}: none in this time.</p>'
    scale = Scale(rounded_up(max(values)), len(values) + 1)
    width = max((scale.x(1) - scale.x(0)) * 0.8, 1)
    bars = [
        f'<rect class="{colour}" x="{scale.x(number):.1f}" y="{scale.y(value):.1f}" width="{width:.1f}" '
        f'height="{scale.y(0) - scale.y(value):.1f}"><title>{time.astimezone(ZoneInfo(zone)):%d %b %H:%M}: '
        f"{value:,.0f}</title></rect>"
        for number, (time, value) in enumerate(zip(times, values, strict=True))
        if value
    ]
    told = f"{title}: {sum(values):,.0f} in all, at most {max(values):,.0f} at a time"
    return _framed(told, [*_grid(scale, ""), *_times(scale, times, zone), *bars])


def sparkline(title: str, values: Sequence[float | None], colour: str = "a") -> str:
    """A line without letters, to stand in a table."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    top = max(max(known), 1e-9)
    points = [
        (4 + 112 * number / max(len(values) - 1, 1), 2 + 20 * (1 - value / top)) if value is not None else None
        for number, value in enumerate(values)
    ]
    paths = "".join(f'<path class="line {colour}" d="{path}"/>' for path in _paths(points))
    return (
        f'<svg class="chart sparkline" viewBox="0 0 120 24" width="120" height="24" role="img" '
        f'aria-label="{xhtml_escape(title)}">{paths}</svg>'
    )


def rounded_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, … so that a chart's top is a number for people."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in STEPS if step * unit >= value * (1 - 1e-9))


def _framed(told: str, body: Sequence[str]) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{xhtml_escape(told)}">'
        f"{''.join(body)}</svg>"
    )


def _grid(scale: Scale, unit: str) -> Iterator[str]:
    for value in (0.0, scale.top / 2, scale.top):
        y = scale.y(value)
        yield f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}{xhtml_escape(unit)}</text>'


def _times(scale: Scale, times: Sequence[datetime], zone: str) -> Iterator[str]:
    last = len(times) - 1
    length = times[-1] - times[0]
    form = "%H:%M:%S" if length <= MINUTES else "%H:%M" if length <= ONE_DAY else "%d %b"
    for part in range(TIMES_SHOWN):
        index = round(last * part / (TIMES_SHOWN - 1))
        anchor = "start" if part == 0 else "end" if part == TIMES_SHOWN - 1 else "middle"
        local = times[index].astimezone(ZoneInfo(zone))
        yield f'<text x="{scale.x(index):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{local:{form}}</text>'


def _line(scale: Scale, line: Line, colour: str) -> Iterator[str]:
    points = [
        (scale.x(number), scale.y(value)) if value is not None else None for number, value in enumerate(line.values)
    ]
    for path in _paths(points):
        yield f'<path class="line {colour}" d="{path}"><title>{xhtml_escape(line.name)}</title></path>'


def _paths(points: Sequence[tuple[float, float] | None]) -> Iterator[str]:
    """A path for each run without gaps; one point alone becomes a dash, or nobody would see it."""
    run: list[tuple[float, float]] = []
    for point in [*points, None]:
        if point is not None:
            run.append(point)
        elif run:
            if len(run) == 1:
                run.append((run[0][0] + 2, run[0][1]))
            yield "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in run)
            run = []


def _legend(lines: Sequence[Line]) -> str:
    entries = "".join(
        f'<li><i class="{COLOURS[number]}"></i>{xhtml_escape(line.name)}</li>' for number, line in enumerate(lines)
    )
    return f'<ul class="chart-legend" aria-hidden="true">{entries}</ul>'


def _told(lines: Sequence[Line], unit: str) -> str:
    told = []
    for line in lines:
        known = [value for value in line.values if value is not None]
        if known:
            low, high, last = (f"{number(value)}{unit}" for value in (min(known), max(known), known[-1]))
            told.append(f"{line.name} from {low} to {high}, now {last}")
    return "; ".join(told)


def number(value: float) -> str:
    """Short: 0.25, 12, 3.5k, 2M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
