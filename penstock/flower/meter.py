"""A bar in a cell of a table, for numbers that people compare down a column. The number itself stands beside it."""

from __future__ import annotations

from tornado.escape import xhtml_escape

WIDTH, HEIGHT = 96, 10
LEAST = 1.5
"""A bar that is not zero is seen."""


def meter(title: str, value: float, top: float, colour: str = "a") -> str:
    """A bar that is as full as a value is large.

    Args:
        title: for people who do not see it.
        top: the value of a full bar; what is beyond fills it.
        colour: a class of the style sheet: a active, b good, c dangerous, d to be watched.
    """
    share = min(value / top, 1.0) if top > 0 else 0.0
    width = max(share * WIDTH, LEAST) if value > 0 else 0
    return (
        f'<svg class="meter" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{xhtml_escape(title)}"><rect class="track" width="{WIDTH}" height="{HEIGHT}" rx="3"/>'
        f'<rect class="{colour}" width="{width:.1f}" height="{HEIGHT}" rx="3"/></svg>'
    )
