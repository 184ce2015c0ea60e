"""`make duel`: stock Celery and Penstock, the same jobs and the same faults, judged from outside."""

from __future__ import annotations

import argparse
import io
import json
import logging
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from demo.duel import picture, screen
from demo.duel.command import STOCK
from demo.duel.faults import TITLES, title
from demo.duel.match import Match, titled
from demo.duel.postgres import make_template
from demo.duel.screen import View
from demo.duel.side import PENSTOCK, NotReady, Side
from penstock.embedded import signals
from penstock.errors import PenstockError

SHORTEST, LONGEST, USUAL = 20, 600, 60
EVIDENCE = Path("var") / "duel"
"""Where effects, accepted jobs and logs of the latest duel stay."""
DRAW_EVERY = 0.5
SIGNALLED = 128


def main() -> int:
    """Plays it; exit code 0 only when Penstock has lost nothing, doubled nothing, and recorded everything."""
    options = _options()
    console = Console(stderr=options.json, width=None if sys.stdout.isatty() else screen.WIDTH)
    logging.disable()  # What fails is told in the end; the client libraries need not comment on it.
    try:
        with signals.handled(signals.interrupt), _both_sides(console) as sides:
            match, views = _play(Match(sides, options.seconds), console)
            _show(match, views, console, options)
    except (NotReady, PenstockError, RuntimeError) as error:
        print(f"duel: {error} (logs: {EVIDENCE})", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        return SIGNALLED + signal.Signals[str(interrupt) or "SIGINT"]
    return 0 if next(view for view in views if view.side.name == PENSTOCK).verdict.is_clean else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make duel", description=__doc__)
    parser.add_argument("--seconds", type=int, default=USUAL, help=f"from {SHORTEST} to {LONGEST}; {USUAL} unless told")
    parser.add_argument("--json", action="store_true", help="the figures as JSON on standard output")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="save the final screen as an SVG")
    options = parser.parse_args()
    if not SHORTEST <= options.seconds <= LONGEST:
        parser.error(f"--seconds must be from {SHORTEST} to {LONGEST}")
    return options


@contextmanager
def _both_sides(console: Console) -> Iterator[list[Side]]:
    """Both sides, ready. Their databases lie where a user of PostgreSQL's own can reach them."""
    console.print("two Redis, two PostgreSQL and four workers are starting …", style="grey62")
    with ExitStack() as stack:
        disk = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="duel-", ignore_cleanup_errors=True)))
        disk.chmod(0o755)
        template, run, seen = make_template(disk / "template"), uuid.uuid4().hex, disk / "seen"
        stack.callback(_keep, seen)
        sides = []
        for name in (STOCK, PENSTOCK):
            (disk / name).mkdir()
            (disk / name).chmod(0o755)
            sides.append(stack.enter_context(Side(name, seen / name, disk / name, template, run)))
        for side in sides:
            side.wait_until_ready()
        yield sides


def _keep(seen: Path) -> None:
    """Replaces what the former duel left: this one's is whole now, as all of its processes have ended."""
    shutil.rmtree(EVIDENCE, ignore_errors=True)
    shutil.copytree(seen, EVIDENCE)


def _play(match: Match, console: Console) -> tuple[Match, list[View]]:
    """Shows the match while it is played; how both sides stand in the end."""
    with ThreadPoolExecutor(1) as pool:
        playing = pool.submit(match.play)
        try:
            _watch(match, console, playing.done)
        finally:
            match.call_off()
        playing.result()
    return match, screen.look(match, over=True)


def _watch(match: Match, console: Console, is_over: Any) -> None:
    phase = ""
    with _display(console) as live:
        while not is_over():
            views = screen.look(match)
            if live is not None:
                live.update(screen.draw(match, views), refresh=True)
            elif match.phase != phase:
                phase = match.phase
                console.print(f"{match.elapsed:5.1f} s  {phase}", highlight=False)
            time.sleep(DRAW_EVERY)


@contextmanager
def _display(console: Console) -> Iterator[Live | None]:
    if not console.is_terminal:
        yield None
        return
    with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
        yield live


def _show(match: Match, views: list[View], console: Console, options: argparse.Namespace) -> None:
    final = screen.ending(match, views)
    if options.picture is not None:
        recorder = Console(
            record=True, width=screen.WIDTH, force_terminal=True, color_system="truecolor", file=io.StringIO()
        )
        recorder.print(final)
        picture.save(recorder, options.picture)
    if options.json:
        print(json.dumps(_as_json(match, views), indent=1, ensure_ascii=False))
    else:
        console.print(final)


def _as_json(match: Match, views: list[View]) -> dict[str, Any]:
    sides = {view.side.name: _figures(match, view) for view in views}
    return {"seconds": match.seconds, "load_before": match.load_before, "line": screen.last_line(views), **sides}


def _figures(match: Match, view: View) -> dict[str, Any]:
    lost, doubled, unrecorded = view.verdict.figures
    return {
        "name": titled(view.side.name),
        "accepted": len(view.evidence.accepted),
        "lost": lost,
        "doubled": doubled,
        "never_recorded": unrecorded,
        "open": len(view.verdict.open),
        "jobs_per_second": view.side.rate,
        "faults": {
            title(fault, match.seconds): screen.told(view, place).plain for place, fault in enumerate(TITLES, 1)
        },
        "workers": list(view.side.record.portraits.values()),
    }


if __name__ == "__main__":
    sys.exit(main())
