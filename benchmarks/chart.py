"""The figures as bars in one SVG, written by hand: no library, and the file changes only where the figures do.

It shows what has a target; the page has the rest. Every row has its own scale, as milliseconds and jobs have none in
common: the longer of its two bars fills the width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from xml.sax.saxutils import escape

from benchmarks.report import Figure, Row, number

WIDTH, MARGIN, LABELS, BARS = 860, 24, 330, 300
BAR, GAP, ROW, HEAD = 11, 3, 40, 34
COLOURS = {"stock": "#9aa3ad", "Penstock": "#0f766e"}
INK, FAINT, BACK = "#1f2933", "#616e7c", "#ffffff"


def draw(figures: Sequence[Figure]) -> str:
    """The picture."""
    parts: list[str] = []
    top = MARGIN + 40
    for figure in figures:
        targeted = [row for row in figure.rows if row.target]
        parts.append(words(MARGIN, top + 16, figure.title, size=14, weight=600))
        top += HEAD
        for row in targeted:
            parts += _row(row, top)
            top += ROW
        top += 10
    return document(WIDTH, top, "Stock Celery and Penstock, measured", [*_legend(), *parts])


def document(width: int, height: int, label: str, parts: Iterable[str]) -> str:
    """A picture of these parts."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="system-ui, sans-serif" role="img" aria-label="{escape(label)}">',
            f'<rect width="{width}" height="{height}" rx="8" fill="{BACK}"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def shape(x: float, y: float, width: float, height: float, side: str) -> str:
    """A bar in the colour of a side."""
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{max(2, width):.0f}" height="{height:.0f}" rx="2" '
        f'fill="{COLOURS[side]}"/>'
    )


def _legend() -> Iterator[str]:
    for place, (side, colour) in enumerate(COLOURS.items()):
        left = MARGIN + place * 90
        yield f'<rect x="{left}" y="{MARGIN}" width="12" height="12" rx="2" fill="{colour}"/>'
        yield words(left + 18, MARGIN + 11, side)
    yield words(WIDTH - MARGIN, MARGIN + 11, "each row has its own scale", colour=FAINT, anchor="end")


def _row(row: Row, top: int) -> Iterator[str]:
    better = "less is better" if row.less_is_better else "more is better"
    yield words(MARGIN, top + 11, row.what)
    yield words(MARGIN, top + 25, f"{row.unit}, {better}" if row.unit else better, size=11, colour=FAINT)
    values = {"stock": row.stock_median, "Penstock": row.ours_median}
    longest = max(value or 0 for value in values.values()) or 1
    for place, (side, value) in enumerate(values.items()):
        if value is None:
            continue
        width, y = max(2, BARS * value / longest), top + 2 + place * (BAR + GAP)
        yield shape(LABELS, y, width, BAR, side)
        yield words(LABELS + width + 6, y + 10, number(value), size=11)
    if row.times:
        yield words(WIDTH - MARGIN, top + 18, f"{row.times:.1f} x", size=16, weight=600, anchor="end")


def words(
    x: float, y: float, said: str, *, size: int = 12, weight: int = 400, colour: str = INK, anchor: str = "start"
) -> str:
    """Text at a place."""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(said)}</text>'
    )
