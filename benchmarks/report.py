"""What a figure is, whether its target holds, and how people, machines and the docs get to see it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

MARKS = {True: "holds", False: "MISSED", None: ""}


@dataclass(frozen=True)
class Target:
    """A bound for our value, or for how many times better than stock it is.

    Attributes:
        of: ``ours``: the value itself; ``times``: the ratio.
    """

    of: Literal["ours", "times"]
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        sign, bound = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        return f"{sign} {number(bound)}{'x' if self.of == 'times' else ''}"

    def holds(self, value: float) -> bool:
        """Whether the value is within the bound."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


@dataclass(frozen=True)
class Row:
    """One quantity on both sides: all repetitions; its value is the median.

    Attributes:
        what: the quantity, for people.
        unit: of both sides' values.
        less_is_better: as for memory; otherwise more is.
        stock: absent where stock Celery has no such thing.
    """

    what: str
    unit: str
    ours: Sequence[float]
    stock: Sequence[float] = ()
    less_is_better: bool = False
    target: Target | None = None

    @property
    def ours_median(self) -> float:
        """Our value."""
        return statistics.median(self.ours)

    @property
    def stock_median(self) -> float | None:
        """Stock's value."""
        return statistics.median(self.stock) if self.stock else None

    @property
    def times(self) -> float | None:
        """How many times better ours is than stock's; less than 1 is worse."""
        if not self.stock_median or not self.ours_median:
            return None
        ratio = self.ours_median / self.stock_median
        return 1 / ratio if self.less_is_better else ratio

    @property
    def holds(self) -> bool | None:
        """Whether the target holds; None without a target."""
        if self.target is None:
            return None
        value = self.ours_median if self.target.of == "ours" else self.times
        return value is not None and self.target.holds(value)


@dataclass(frozen=True)
class Figure:
    """One question and its answers.

    Attributes:
        name: for ``--only``.
        title: the question in a few words.
        how: how it was measured, in a sentence or two.
    """

    name: str
    title: str
    how: str
    rows: Sequence[Row] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether all targets hold."""
        return all(row.holds is not False for row in self.rows)


def as_text(figure: Figure) -> str:
    """The figure for a terminal."""
    lines = [f"{figure.title}  [{figure.name}]"]
    width = max(len(row.what) for row in figure.rows)
    lines += [
        f"  {row.what:<{width}}  stock {_with_spread(row.stock):>24}  ours {_with_spread(row.ours):>24} {row.unit:<6}"
        f" {_times(row):>8}  {_verdict(row)}".rstrip()
        for row in figure.rows
    ]
    return "\n".join(lines)


def as_data(figures: Sequence[Figure], ran: dict[str, dict[str, str]], machine: dict[str, str]) -> dict[str, Any]:
    """Everything, for machines."""
    return {
        "machine": machine,
        "ran": ran,
        "figures": [
            asdict(figure)
            | {
                "rows": [
                    asdict(row)
                    | {"ours_median": row.ours_median, "stock_median": row.stock_median}
                    | {"times": row.times, "holds": row.holds}
                    for row in figure.rows
                ]
            }
            for figure in figures
        ],
    }


def head(raw: str, machine: Mapping[str, str]) -> list[str]:
    """How a page says where its figures are from.

    Args:
        raw: the file that has every value.
        machine: what they were measured on.
    """
    return [
        f"Written by `make bench` in one run on one machine; every value is in [{raw}]({raw}).",
        "Redis writes its file every second (AOF everysec), PostgreSQL syncs each commit, the log level is WARNING,",
        "and Penstock sends events (`-E`).",
        "",
        f"{', '.join(machine.values())}.",
        "",
    ]


def as_markdown(figures: Sequence[Figure], ran: dict[str, dict[str, str]], machine: dict[str, str]) -> str:
    """The page ``docs/benchmarks.md``."""
    lines = [
        "# Stock Celery and Penstock in detail",
        "",
        *head("benchmarks.json", machine),
        "All systems beside each other: [comparison.md](comparison.md).",
        "",
        "Each side has its own application in its own processes (nothing of Penstock is loaded on the stock side; the",
        "run checks it) and its own Redis. Both are measured in turns, one at a time; values are medians, spreads are",
        "the lowest and highest repetition. “Times” is how many times better Penstock is.",
        "",
        "![The figures as bars](pictures/benchmarks.svg)",
        "",
        "| | stock | Penstock |",
        "|---|---|---|",
    ]
    names = dict.fromkeys(name for facts in ran.values() for name in facts)
    lines += [f"| {name} | {_code(ran['stock'].get(name))} | {_code(ran['ours'].get(name))} |" for name in names]
    for figure in figures:
        lines += ["", f"## {figure.title}", "", figure.how, "", "| | stock | Penstock | | times | target |"]
        lines += ["|---|---:|---:|---|---:|---|"]
        lines += [
            f"| {row.what} | {_with_spread(row.stock)} | {_with_spread(row.ours)} | {row.unit} | {_times(row)} |"
            f" {_verdict(row)} |"
            for row in figure.rows
        ]
    return "\n".join(lines) + "\n"


def number(value: float | None) -> str:
    """Three figures that matter, thousands apart."""
    if value is None:
        return "—"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 and value != int(value) else f"{value:.3g}"


def _code(value: str | None) -> str:
    return f"`{value}`" if value else ""


def _with_spread(values: Sequence[float]) -> str:
    if not values:
        return "—"
    median = number(statistics.median(values))
    return median if len(values) == 1 else f"{median} ({number(min(values))}…{number(max(values))})"


def _times(row: Row) -> str:
    return f"{row.times:.2f} x" if row.times else ""


def _verdict(row: Row) -> str:
    return f"{row.target} {MARKS[row.holds]}" if row.target else ""
