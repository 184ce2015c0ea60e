"""The jobs around a job as a graph: generations from left to right, each job a link to its page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from tornado.escape import xhtml_escape

from penstock.operations.jobs.family import Family, Kin, Member
from penstock.operations.wording import short_id
from penstock.wording import printable

WIDTH, HEIGHT, BETWEEN, APART, EDGE = 184, 44, 40, 12, 4
TASK_LETTERS, ID_LETTERS = 25, 12
ORDER = (Kin.REPLAYED, Kin.PARENT, Kin.ANCESTOR, Kin.ITSELF, Kin.SIBLING, Kin.REPLAY, Kin.CHILD, Kin.DESCENDANT)
"""Of those of one generation, from the top down."""
Places = dict[str, tuple[float, float]]


def family_chart(family: Family, address: Callable[[str], str]) -> str:
    """The graph; empty for a job alone.

    Args:
        address: of the page of the job with an id.
    """
    if len(family.members) < 2:
        return ""
    places = _places(family.members)
    width = max(x for x, _ in places.values()) + WIDTH + BETWEEN / 2 + EDGE
    height = max(y for _, y in places.values()) + HEIGHT + EDGE
    edges = "".join(_edges(family, places))
    nodes = "".join(_node(member, places[member.job.id], address(member.job.id)) for member in family.members)
    return (
        f'<svg class="family-chart" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="group" aria-label="Jobs around this one, {len(family.members)} of them">{edges}{nodes}</svg>'
    )


def _places(members: Sequence[Member]) -> Places:
    """A column for each generation; its rows are in the middle of the highest column."""
    columns: defaultdict[int, list[Member]] = defaultdict(list)
    for member in members:
        columns[member.generation].append(member)
    tallest = max(len(column) for column in columns.values())
    places: Places = {}
    for number, generation in enumerate(sorted(columns)):
        column = sorted(columns[generation], key=lambda member: ORDER.index(member.kin))
        above = (tallest - len(column)) * (HEIGHT + APART) / 2
        for row, member in enumerate(column):
            places[member.job.id] = EDGE + number * (WIDTH + BETWEEN), EDGE + above + row * (HEIGHT + APART)
    return places


def _edges(family: Family, places: Places) -> Iterator[str]:
    itself = family.itself.job.id
    for member in family.members:
        if member.kin is Kin.REPLAYED:
            yield _beside(places[member.job.id], places[itself])
        elif member.kin is Kin.REPLAY:
            yield _beside(places[itself], places[member.job.id])
        elif member.of in places:
            yield _across(places[member.of], places[member.job.id])


def _across(start: tuple[float, float], end: tuple[float, float]) -> str:
    """From the right of one to the left of another, a generation on."""
    x, y = start[0] + WIDTH, start[1] + HEIGHT / 2
    to_x, to_y = end[0], end[1] + HEIGHT / 2
    middle = (x + to_x) / 2
    return (
        f'<path class="edge" d="M{x:.0f} {y:.0f}C{middle:.0f} {y:.0f} {middle:.0f} {to_y:.0f} {to_x:.0f} {to_y:.0f}"/>'
    )


def _beside(start: tuple[float, float], end: tuple[float, float]) -> str:
    """From one to another in the same column, around what is between them."""
    x, y, to_y = start[0] + WIDTH, start[1] + HEIGHT / 2, end[1] + HEIGHT / 2
    out = x + BETWEEN / 2
    return f'<path class="edge replay" d="M{x:.0f} {y:.0f}C{out:.0f} {y:.0f} {out:.0f} {to_y:.0f} {x:.0f} {to_y:.0f}"/>'


def _node(member: Member, place: tuple[float, float], address: str) -> str:
    x, y = place
    job = member.job
    state = xhtml_escape(str(job.state))
    current = ' aria-current="page"' if member.kin is Kin.ITSELF else ""
    task = xhtml_escape(_short(job.task.rpartition(".")[2] or job.task, TASK_LETTERS))
    told = xhtml_escape(printable(f"{job.task} {job.id}, {job.state}, {member.kin}"))
    return (
        f'<a href="{xhtml_escape(address)}"{current} aria-label="{told}"><title>{told}</title>'
        f'<rect class="node node-{state}{" itself" if current else ""}" x="{x:.0f}" y="{y:.0f}" '
        f'width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text class="task" x="{x + 10:.0f}" y="{y + 18:.0f}">{task}</text>'
        f'<text x="{x + 10:.0f}" y="{y + 35:.0f}">{xhtml_escape(_short(short_id(job.id), ID_LETTERS))} '
        f'<tspan class="node-{state}">{state}</tspan></text></a>'
    )


def _short(text: str, letters: int) -> str:
    return printable(text if len(text) <= letters else f"{text[: letters - 1]}…")
