"""`queues history`: for people a line of bars for each thing that was measured, for machines all numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from penstock.cli.groups import BARS, NONE_AT_ALL
from penstock.cli.output import GAP, print_json
from penstock.cli.queue_table import plain_table
from penstock.operations.history import LATE_SECONDS, History, is_measured
from penstock.wording import distance, duration, one_line

if TYPE_CHECKING:
    from penstock.ledger.histogram import Percentiles
    from penstock.ledger.series import Series

GAP_MARK = " "
"""Where nobody was there to measure."""
DEPTHS = ("ready", "oldest_seconds", "in_flight", "parked", "blocked")
RATES = ("accepted", "succeeded", "failed", "cancelled", "retried")
NARROWEST = 10
Line = tuple[str, Sequence[float | None], Callable[[float], str]]
"""A name, values over time, and how one of them is said."""


def print_history(console: Console, history: History, as_json: bool) -> None:
    """As JSON, as a table on a terminal, as lines in a pipe."""
    if as_json:
        print_json(as_json_object(history))
    elif console.is_terminal:
        _print_table(console, history)
    else:
        for point in points_of(history.series):
            click.echo("\t".join("" if value is None else _column(value) for value in _flat(point)))


def as_json_object(history: History) -> dict[str, Any]:
    """All numbers; null where nobody measured."""
    return {
        "queue": history.series.queue,
        "step_seconds": history.series.step.total_seconds(),
        "late_since": history.late,
        "summary": {**asdict(history.summary), **_percentiles(history.summary.waits, history.summary.runs)},
        "points": list(points_of(history.series)),
    }


def points_of(series: Series) -> Iterator[dict[str, Any]]:
    """Step by step."""
    names = ("at", *DEPTHS, *(f"{rate}_per_second" for rate in RATES))
    columns = [getattr(series, name) for name in names]
    for *values, waits, runs in zip(*columns, series.waits, series.runs, strict=True):
        yield {**dict(zip(names, values, strict=True)), **_percentiles(waits, runs)}


def _percentiles(waits: Percentiles | None, runs: Percentiles | None) -> dict[str, Any]:
    return {
        "waits": waits._asdict() if waits is not None else None,
        "runs": runs._asdict() if runs is not None else None,
    }


def _flat(point: dict[str, Any]) -> Iterator[Any]:
    yield from list(point.values())[:-2]
    for percentiles in (point["waits"], point["runs"]):
        yield from percentiles.values() if percentiles is not None else (None,) * 3


def _column(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return f"{value:.3f}" if isinstance(value, float) else str(value)


# -- for people ---------------------------------------------------------------------------------------------------


def _print_table(console: Console, history: History) -> None:
    series, now = history.series, datetime.now(UTC)
    if not is_measured(series):
        console.print(Text(f"nobody has measured {one_line(series.queue)} since {distance(series.at[0], now)}"))
        return
    lines = list(_lines(series))
    cells = [(name, _last(values, shown), _most(values, shown)) for name, values, shown in lines]
    widths = [max(len(row[column]) for row in [*cells, ("", "latest", "most")]) for column in range(3)]
    room = max(console.width - sum(widths) - 3 * GAP, NARROWEST)
    table = plain_table()
    table.add_column("", no_wrap=True, style="bold")
    for heading in ("latest", "most"):
        table.add_column(heading, justify="right", no_wrap=True)
    begin = series.at[-room:][0]
    table.add_column("", no_wrap=True)
    for row, (name, values, _) in zip(cells, lines, strict=True):
        table.add_row(*row, Text(bars(values[-room:]), style="red" if name.startswith("failed") else "cyan"))
    each = duration(series.step.total_seconds())
    console.print(Text(f"{one_line(series.queue)}, from {distance(begin, now)} until now, {each} a bar", style="dim"))
    console.print(table)
    console.print(_conclusion(history, now))


def _lines(series: Series) -> Iterator[Line]:
    """What there was at all: what has never been anything but nothing is left out, apart from the first three."""
    for name in DEPTHS:
        values = getattr(series, name)
        if name in DEPTHS[:3] or any(values):
            is_age = name == "oldest_seconds"
            yield name.removesuffix("_seconds").replace("_", " "), values, duration if is_age else _whole
    for name in RATES:
        values = getattr(series, f"{name}_per_second")
        if name in RATES[:2] or any(values):
            yield f"{name} /s", values, _rate
    for name, percentiles in (("wait p95", series.waits), ("run p95", series.runs)):
        yield name, [each.p95 if each is not None else None for each in percentiles], duration


def bars(values: Sequence[float | None]) -> str:
    """A bar for each value, the highest for the greatest; a blank where there is none."""
    most = max((value for value in values if value is not None), default=0)
    return "".join(_bar(value, most) for value in values)


def _bar(value: float | None, most: float) -> str:
    if value is None:
        return GAP_MARK
    return BARS[min(int(value / most * len(BARS)), len(BARS) - 1)] if value else NONE_AT_ALL


def _last(values: Sequence[float | None], shown: Callable[[float], str]) -> str:
    return next((shown(value) for value in reversed(values) if value is not None), "")


def _most(values: Sequence[float | None], shown: Callable[[float], str]) -> str:
    return shown(max(known)) if (known := [value for value in values if value is not None]) else ""


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _rate(value: float) -> str:
    return f"{value:,.2f}" if value < 10 else f"{value:,.0f}"


def _conclusion(history: History, now: datetime) -> Text:
    """How it stands, and how long jobs have waited and run in all that time."""
    of = history.summary
    ends = ", ".join(f"{getattr(of, name):,} {name}" for name in RATES[1:] if getattr(of, name) or name == "succeeded")
    text = Text(ends, style="dim")
    for name, percentiles in (("waited", of.waits), ("ran", of.runs)):
        if percentiles is not None:
            p50, p95, p99 = map(duration, percentiles)
            text.append(f"\nhalf {name} up to {p50}, 95% up to {p95}, 99% up to {p99}")
    if history.late is not None:
        late = f"\nlate since {distance(history.late, now)}: its oldest job has waited for more than "
        text.append(late + duration(LATE_SECONDS), style="bold red")
    return text
