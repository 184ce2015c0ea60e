"""What a person sees: both sides beside each other, a row for each fault, and how long it still takes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from rich import box
from rich.align import Align
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from demo.duel import story
from demo.duel.command import STOCK
from demo.duel.effects import END
from demo.duel.faults import BEGINS, MINUTE, TITLES, title
from demo.duel.judge import Evidence, Verdict, judge
from demo.duel.match import Match, titled
from demo.duel.side import CHILDREN, PENSTOCK, Side

WIDTH = 112
COLOURS = {STOCK: "orange1", PENSTOCK: "deep_sky_blue1"}
TELLS = {story.GOOD: ("✔", "green3"), story.BAD: ("✖", "bold red1"), story.WAITING: ("…", "yellow3")}
LAMPS = {"up": ("●", "green3"), "frozen": ("❄", "cyan1"), "killed": ("✖", "red1"), "down": ("✖", "red1")}
BARS = " ⣀⣤⣶⣿"
STEPS = len(BARS) - 1
ROWS, FULL = 3, 48.0
"""Lines of the graph, and the jobs per second that fill it: twice the load."""
REST, HARM, DOUBT = "bold grey7 on green3", "bold white on red3", "bold grey7 on yellow3"
GRACE = 3.0
"""Seconds after which a job that is nowhere is shown as missing, while the duel lasts."""


@dataclass(frozen=True)
class View:
    """One side at one moment."""

    side: Side
    evidence: Evidence
    verdict: Verdict
    now: float
    """Infinite when all is over: what is missing then is lost."""

    @property
    def figures(self) -> tuple[int, int, int]:
        """Lost, doubled, never recorded; while the duel lasts, without what may be on its way."""
        late = self.now - GRACE
        lost = sum(harm.at < late for harm in self.verdict.lost.values())
        unrecorded = sum(harm.at < late for harm in self.verdict.unrecorded.values())
        return lost, len(self.verdict.doubled), unrecorded


def look(match: Match, *, over: bool = False) -> list[View]:
    """Both sides now."""
    views = []
    for side in match.sides:
        side.record.look()
        evidence = side.record.evidence()
        now = math.inf if over else time.monotonic()
        views.append(View(side, evidence, judge(evidence), now))
    return views


def draw(match: Match, views: Sequence[View], *, over: bool = False) -> RenderableType:
    """The whole screen."""
    columns = Table.grid(expand=True, padding=(0, 1))
    for _ in views:
        columns.add_column(ratio=1)
    columns.add_row(*(_side(match, view, over=over) for view in views))
    return Group(_head(match, over=over), columns, _faults(match, views))


def last_line(views: Sequence[View]) -> str:
    """The line that the duel ends with."""
    lost, doubled, unrecorded = _of(views, STOCK).verdict.figures
    ours = ", ".join(map(str, _of(views, PENSTOCK).verdict.figures))
    return f"stock: lost {lost}, doubled {doubled}, never recorded {unrecorded} · Penstock: {ours}"


def footnotes(match: Match, views: Sequence[View]) -> list[str]:
    """What has to be said about the figures."""
    stock = _of(views, STOCK)
    later = len(stock.side.record.unacknowledged() & stock.verdict.lost.keys())
    load = f"{match.load_before:.1f}"
    rates = " · ".join(f"{_short(view.side.name)} {_rate(view.side.rate)}" for view in views)
    notes = [
        f"filled queue: {match.filled:,} empty jobs, {CHILDREN} children, a row of each in PostgreSQL; jobs/s: {rates}",
        f"{os.cpu_count()} cores for both sides, their servers and the judge; load {load} when it began",
        f"stock: Celery {version('celery')} with task_acks_late and its SQL result backend, otherwise as it comes. Of "
        f"its lost jobs {later} would run again when its visibility_timeout of an hour is over.",
    ]
    notes += [
        f"{titled(view.side.name)}: {len(view.verdict.open)} jobs are not done yet"
        for view in views
        if view.verdict.open
    ]
    return notes


def ending(match: Match, views: Sequence[View]) -> RenderableType:
    """The final screen."""
    notes = Group(*(Text(note, style="grey70") for note in footnotes(match, views)))
    return Group(draw(match, views, over=True), notes, Text(""), _coloured(last_line(views)))


# -- inside ---------------------------------------------------------------------------------------------------------


def _head(match: Match, *, over: bool) -> RenderableType:
    left = max(0, round(match.seconds - match.elapsed))
    grid = Table.grid(expand=True, padding=(0, 2))
    grid.add_column()
    grid.add_column(ratio=1)
    grid.add_column(justify="right")
    done = match.seconds if over else min(match.elapsed, match.seconds)
    bar = ProgressBar(total=match.seconds, completed=done, complete_style="magenta", finished_style="magenta")
    clock = "over" if over else f"{left // 60}:{left % 60:02} left" if left else "extra time"
    grid.add_row(Text("the same jobs, the same faults" if over else match.phase, style="bold"), bar, Text(clock))
    return Panel(grid, title="[bold]the duel[/]", box=box.ROUNDED, border_style="grey50")


def _side(match: Match, view: View, *, over: bool) -> RenderableType:
    name = view.side.name
    colour = COLOURS[name]
    rows: list[RenderableType] = [
        _counters(view),
        Text(""),
        Landscape(match, view),
        Text(""),
        _lamps(view.side),
        Text(""),
    ]
    rows += [_harm(view, over=over), Text(""), _contest(view.side)]
    shown = f"{titled(name)} {version('celery')}" if name == STOCK else titled(name)
    return Panel(Group(*rows), title=f"[bold {colour}]{shown}[/]", box=box.ROUNDED, border_style=colour)


def _counters(view: View) -> RenderableType:
    done = {effect.job for effect in view.evidence.effects if effect.kind == END}
    counts = {
        "accepted": len(view.evidence.accepted),
        "done": len(done & view.evidence.accepted.keys()),
        "recorded": len(view.evidence.recorded.keys() & view.evidence.accepted.keys()),
        "in line": len(view.evidence.waiting),
    }
    return _grid([(f"{count:,}", name, "bold") for name, count in counts.items()])


def _harm(view: View, *, over: bool) -> RenderableType:
    names = ("lost" if over else "missing", "doubled", "never recorded" if over else "not recorded")
    figures = view.verdict.figures if over else view.figures
    # What is missing may still come back, and what is not recorded may be yet; a second start stays one.
    styles = (HARM, HARM, HARM) if over else (DOUBT, HARM, DOUBT)
    cells = zip(figures, names, styles, strict=True)
    return _grid([(f"  {count:,}  ", name, style if count else REST) for count, name, style in cells])


def _grid(cells: Sequence[tuple[str, str, str]]) -> RenderableType:
    grid = Table.grid(expand=True)
    for _ in cells:
        grid.add_column(ratio=1)
    # Aligned and assembled: a text that is justified loses its last spaces, and a style of all of it fills the cell.
    grid.add_row(*(Align.center(Text.assemble((value, style))) for value, _, style in cells))
    grid.add_row(*(Align.center(Text(name, style="grey62")) for _, name, _ in cells))
    return grid


@dataclass(frozen=True)
class Landscape:
    """Jobs done per second, as wide as there is room, and below it where the faults struck."""

    match: Match
    view: View

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width = options.max_width
        length = max(self.match.seconds, self.match.elapsed) / width
        heights = [min(1.0, count / length / FULL) * ROWS * STEPS for count in self._ends(width, length)]
        for row in reversed(range(ROWS)):
            line = "".join(BARS[max(0, min(STEPS, round(height) - STEPS * row))] for height in heights)
            yield Text(line, style=COLOURS[self.view.side.name], no_wrap=True, overflow="crop")
        yield self._ground(width, length)

    def _ends(self, width: int, length: float) -> list[int]:
        buckets = [0] * width
        for effect in self.view.evidence.effects:
            place = int((effect.at - self.match.begun) / length)
            if effect.kind == END and 0 <= place < width:
                buckets[place] += 1
        return buckets

    def _ground(self, width: int, length: float) -> Text:
        ground = Text(no_wrap=True, overflow="crop")
        begins = {
            int(at * self.match.seconds / MINUTE / length): number for number, at in enumerate(BEGINS.values(), 1)
        }
        struck = len(self.view.side.strikes)
        for place in range(width):
            number = begins.get(place)
            style = "bold red1" if number and number <= struck else "grey39"
            ground.append(str(number) if number else "╌", style=style)
        return ground


def _lamps(side: Side) -> RenderableType:
    line = Text(justify="center")
    for name, state in side.state.items():
        sign, style = LAMPS[state]
        line.append(f"{sign} ", style=style).append(f"{name} {state}", style="grey70").append("     ")
    line.right_crop(5)
    return line


def _contest(side: Side) -> RenderableType:
    line = Text(justify="center")
    line.append(_rate(side.rate), style="bold")
    return line.append(" jobs/s from a filled queue", style="grey62")


def _faults(match: Match, views: Sequence[View]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1), header_style="grey62", border_style="grey39")
    table.add_column("", no_wrap=True, justify="right")
    table.add_column("what is done to both", ratio=10)
    for view, ratio in zip(views, (9, 11), strict=True):
        table.add_column(Text(titled(view.side.name), style=COLOURS[view.side.name]), ratio=ratio)
    for number, fault in enumerate(TITLES, 1):
        has_struck = all(len(view.side.strikes) >= number for view in views)
        name = Text(title(fault, match.seconds), style="" if has_struck else "grey50")
        table.add_row(
            Text(str(number), style="bold red1" if has_struck else "grey50"),
            name,
            *(told(view, number) for view in views),
        )
    return table


def told(view: View, number: int) -> Text:
    strikes = view.side.strikes
    if len(strikes) < number:
        return Text("")
    words, kind = story.tell(strikes[number - 1], strikes, view.verdict, view.now)
    sign, style = TELLS[kind]
    return Text(f"{sign} {words}", style=style)


def _coloured(line: str) -> RenderableType:
    stock, _, ours = line.partition(" · ")
    good = ours.endswith(": 0, 0, 0")
    text = Text(stock, style=f"bold {COLOURS[STOCK]}").append(" · ", style="grey62")
    return text.append(ours, style="bold green3" if good else "bold red1")


def _of(views: Sequence[View], name: str) -> View:
    return next(view for view in views if view.side.name == name)


def _short(name: str) -> str:
    return name if name == STOCK else titled(name)


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:,.0f}"
