"""Charts as inline SVG. Colours and fonts come from the page's style sheet, so that they follow light and dark.

Each chart is drawn twice, wide and narrow, and the page shows the one that fits: a drawing that is scaled down to a
telephone has text that nobody can read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import Literal

WIDE, NARROW = 760, 340
MAX_BARS, MAX_SERIES, MAX_LABEL = 30, 6, 40
CHARACTER = 6.6
NEGLIGIBLE = 1e-300
ROW, BAR, LINES_HEIGHT = 30, 16, 280
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
TOP, RIGHT, BOTTOM, VALUE_ROOM = 10, 18, 46, 50


@dataclass(frozen=True)
class Series:
    """A name and its values; None leaves a gap."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Chart:
    """A title, the name of the axis of values with its unit, and what is drawn."""

    title: str
    axis: str
    labels: Sequence[str]
    series: Sequence[Series]
    kind: Literal["bars", "lines"]
    """A horizontal bar for each label, of the first series; or a line for each series."""
    rows: int = 0
    """How many labels there would be in all, if ``labels`` has only the first of them."""

    @property
    def note(self) -> str:
        """What is not drawn, or nothing."""
        drawn = min(len(self.labels), MAX_BARS) if self.kind == "bars" else len(self.labels)
        there_are = max(self.rows, len(self.labels))
        if drawn < there_are:
            return f"The first {drawn:,} of {there_are:,} rows are drawn."
        if len(self.series) > MAX_SERIES:
            return f"The first {MAX_SERIES} of {len(self.series)} series are drawn."
        return ""

    @property
    def legend(self) -> tuple[str, ...]:
        """The names of the series, when there is more than one."""
        return tuple(one.name for one in self.series[:MAX_SERIES]) if len(self.series) > 1 else ()


def draw(chart: Chart) -> str:
    """Both drawings; everything that came from outside is escaped."""
    one: Callable[[Chart, int], str] = _bars if chart.kind == "bars" else _lines
    return f'<div class="wide">{one(chart, WIDE)}</div><div class="narrow">{one(chart, NARROW)}</div>'


def escaped(text: str) -> str:
    """Text from outside as markup has it; control characters, which it has no place for, become U+FFFD."""
    return escape(_CONTROL.sub("\ufffd", text), quote=True)


def compact(value: float) -> str:
    """A number for an axis: 950, 12.5k, 3M."""
    for bound, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= bound:
            return f"{value / bound:.4g}{unit}"
    return f"{value:.4g}"


def full(value: float) -> str:
    """A number beside its bar: 950, 12,504, 3.14M."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else compact(value)


def _bars(chart: Chart, width: int) -> str:
    labels = [str(label) for label in chart.labels[:MAX_BARS]]
    values = [value or 0.0 for value in chart.series[0].values[:MAX_BARS]]
    longest = min(max((len(label) for label in labels), default=0), int(width * 0.34 / CHARACTER))
    # Where there is no room beside the bars, the labels stand above them.
    beside = width == WIDE
    left, height = (longest * CHARACTER + 14, ROW) if beside else (18 if min(values, default=0) < 0 else 4, ROW + 14)
    scale = _Scale.over(values, left, width - RIGHT - VALUE_ROOM, 6 if beside else 4)
    bottom = TOP + height * len(values)
    parts = _upright_grid(scale, bottom)
    for index, (label, value) in enumerate(zip(labels, values, strict=True)):
        middle = TOP + height * index + (ROW / 2 if beside else ROW - 4)
        end, zero = scale.at(value), scale.at(0)
        parts += [
            f"<g><title>{escaped(f'{label}: {value:,.10g}')}</title>",
            _label(label, left - 8, middle + 4, "end", longest)
            if beside
            else _label(label, left + 6, middle - 14, "start", MAX_LABEL),
            f'<path class="bar" d="{_bar(zero, end, middle)}"/>',
            f'<text class="value" x="{max(end, zero) + 6:.1f}" y="{middle + 4:.1f}">{full(value)}</text></g>',
        ]
    parts.append(_axis_name(chart.axis, (scale.low_at + scale.high_at) / 2, bottom + 38))
    return _svg(chart, width, bottom + BOTTOM, parts)


def _label(text: str, x: float, y: float, anchor: str, length: int) -> str:
    return f'<text class="label" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(_short(text, length))}</text>'


def _lines(chart: Chart, width: int) -> str:
    series = chart.series[:MAX_SERIES]
    known = [value for one in series for value in one.values if value is not None]
    height = LINES_HEIGHT if width == WIDE else LINES_HEIGHT * 0.8
    bottom = TOP + 12 + height
    scale = _Scale.over(known, bottom, TOP + 22, 5)
    left = max(len(compact(tick)) for tick in scale.ticks) * CHARACTER + 12
    places = _places(len(chart.labels), left + 6, width - RIGHT)
    parts = [f'<text class="axis" x="0" y="{TOP + 4}">{escaped(_short(chart.axis, MAX_LABEL))}</text>']
    for tick in scale.ticks:
        y = scale.at(tick)
        kind = "zero" if tick == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{left:.1f}" x2="{width - RIGHT + 6}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{compact(tick)}</text>')
    parts += _label_row(chart.labels, places, bottom, 90 if width == WIDE else 64)
    for number, one in enumerate(series, 1):
        points = list(zip(chart.labels, one.values, places, strict=False))
        parts.append(f'<path class="line s{number}" d="{_path([(x, value) for _, value, x in points], scale)}"/>')
        for label, value, x in points:
            if value is not None:
                text = escaped(f"{one.name}, {label}: {value:,.10g}")
                dot = f'<circle class="dot s{number}" cx="{x:.1f}" cy="{scale.at(value):.1f}" r="3"/>'
                parts.append(f"<g><title>{text}</title>{dot}</g>")
    return _svg(chart, width, bottom + BOTTOM - 14, parts)


@dataclass(frozen=True)
class _Scale:
    """Values to places along an axis that begins and ends at round numbers and includes zero."""

    low: float
    high: float
    low_at: float
    high_at: float
    ticks: tuple[float, ...]

    @classmethod
    def over(cls, values: Sequence[float], low_at: float, high_at: float, count: int) -> _Scale:
        low, high = min([0.0, *values]), max([0.0, *values])
        # A range that floating point can hardly tell from nothing is drawn like one that is nothing.
        step = _round_step((high - low) / count) if high - low > NEGLIGIBLE else 1.0
        first, last = math.floor(low / step), math.ceil(high / step)
        ticks = tuple(float(f"{number * step:.12g}") for number in range(first, max(last, first + 1) + 1))
        return cls(ticks[0], ticks[-1], low_at, high_at, ticks)

    def at(self, value: float) -> float:
        return self.low_at + (value - self.low) / (self.high - self.low) * (self.high_at - self.low_at)


def _round_step(rough: float) -> float:
    """The next step of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)


def _upright_grid(scale: _Scale, bottom: float) -> list[str]:
    parts = []
    for tick in scale.ticks:
        x = scale.at(tick)
        kind = "zero" if tick == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{compact(tick)}</text>')
    return parts


def _bar(zero: float, end: float, middle: float) -> str:
    """A bar whose far end is rounded."""
    length, top = end - zero, middle - BAR / 2
    radius = min(3.0, abs(length)) * (1 if length >= 0 else -1)
    sweep = 1 if length >= 0 else 0
    corner = f"a{abs(radius):.1f} {abs(radius):.1f} 0 0 {sweep}"
    return (
        f"M{zero:.1f} {top:.1f}h{length - radius:.1f}{corner} {radius:.1f} {abs(radius):.1f}"
        f"v{BAR - 2 * abs(radius):.1f}{corner} {-radius:.1f} {abs(radius):.1f}h{radius - length:.1f}z"
    )


def _path(points: Sequence[tuple[float, float | None]], scale: _Scale) -> str:
    drawn, pen = [], "M"
    for x, value in points:
        if value is None:
            pen = "M"
            continue
        drawn.append(f"{pen}{x:.1f} {scale.at(value):.1f}")
        pen = "L"
    return "".join(drawn)


def _places(count: int, start: float, end: float) -> list[float]:
    if count == 1:
        return [(start + end) / 2]
    return [start + (end - start) * index / (count - 1) for index in range(count)]


def _label_row(labels: Sequence[str], places: Sequence[float], bottom: float, room: float) -> list[str]:
    """As many labels as have room, the last one among them."""
    if not labels:
        return []
    fitting = max(1, int((places[-1] - places[0]) / room))
    every = max(1, math.ceil((len(labels) - 1) / fitting))
    parts = []
    for index in range(len(labels) - 1, -1, -every):
        anchor = "end" if index == len(labels) - 1 and len(labels) > 1 else "middle"
        text = escaped(_short(_day(labels[index]), int(room / CHARACTER)))
        parts.append(
            f'<text class="tick" x="{places[index]:.1f}" y="{bottom + 20:.1f}" text-anchor="{anchor}">{text}</text>'
        )
    return parts


def _day(label: str) -> str:
    """A date as people say it; anything else as it is."""
    try:
        return f"{date.fromisoformat(label):%-d %b}" if len(label) == 10 else label
    except ValueError:
        return label


def _axis_name(name: str, x: float, y: float) -> str:
    return f'<text class="axis" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escaped(_short(name, MAX_LABEL))}</text>'


def _svg(chart: Chart, width: int, height: float, parts: Sequence[str]) -> str:
    description = escaped(f"{chart.title}; {chart.axis}")
    return f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{description}">' + "".join(parts) + "</svg>"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(1, length - 1)] + "…"
