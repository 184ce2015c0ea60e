"""The last fires of a schedule at one glance, as SVG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import tzinfo

from tornado.escape import xhtml_escape

from penstock.ledger.fires import FireRow, FireState
from penstock.operations.schedules import moment

WIDTH, HEIGHT, BAR = 640, 40, 10
"""Of the picture, and of one fire with the gap behind it."""
HEIGHTS = {FireState.FIRED: 30, FireState.WAITING: 20, FireState.SKIPPED: 12, FireState.MISSED: 38}
"""Each state has its own, so that nobody has to tell colours apart."""


def outcome_strip(fires: Sequence[FireRow], zone: tzinfo) -> str:
    """A bar for each fire, with what became of it when pointed at; empty without fires.

    Args:
        fires: in the order of their times, at most 64.
        zone: in which the times are written.
    """
    if not fires:
        return ""
    counts = Counter(fire.state for fire in fires)
    told = ", ".join(f"{counts[state]} {state.value}" for state in FireState if counts[state])
    left = WIDTH - BAR * len(fires)
    bars = "".join(_bar(fire, left + BAR * number, zone) for number, fire in enumerate(fires))
    legend = "".join(
        f'<li><i class="outcome-{state.value}"></i>{state.value}</li>' for state in FireState if counts[state]
    )
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="The last {len(fires)} fires, the newest at the right: {told}">{bars}</svg>'
        f'<ul class="chart-legend" aria-hidden="true">{legend}</ul>'
    )


def _bar(fire: FireRow, x: int, zone: tzinfo) -> str:
    height = HEIGHTS[fire.state]
    title = f"{moment(fire.planned_at.astimezone(zone))}: {fire.state.value}"
    return (
        f'<rect class="outcome-{fire.state.value}" x="{x}" y="{HEIGHT - height}" width="{BAR - 2}" height="{height}">'
        f"<title>{xhtml_escape(title)}</title></rect>"
    )
