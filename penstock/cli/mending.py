"""What `failures replay` and `failures discard` ask and print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from penstock.app import PenstockApp
from penstock.cli.command import actor
from penstock.cli.output import print_json
from penstock.operations.failures import mending
from penstock.operations.failures.bench import Advance, Done
from penstock.operations.failures.entries import EntryFilter
from penstock.operations.failures.mending import Target, in_kinds, messages_of
from penstock.operations.wording import one_line

Act = Callable[[Advance], Generator[Done, None, None]]


def replay(
    app: PenstockApp,
    given: Sequence[str],
    chosen: EntryFilter,
    *,
    rate: float | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Replays failures; how many of them could not be.

    Args:
        given: ids; when empty, all that ``chosen`` matches.
        rate: messages a second; None: no limit.
        yes: do not ask about what a filter has chosen.

    Raises:
        EntryNotFound: one of the ids is none, and nothing was done.
    """
    targets = _targets(app, given, chosen, None if yes else "replayed")

    def act(advance: Advance) -> Generator[Done, None, None]:
        return mending.replay(app, targets, actor=actor(), rate=rate, advance=advance)

    return _act("replay", targets, act, as_json)


def discard(app: PenstockApp, given: Sequence[str], chosen: EntryFilter, *, yes: bool, as_json: bool) -> int:
    """Discards failures; the same arguments and answer as :func:`replay`."""
    targets = _targets(app, given, chosen, None if yes else "discarded")

    def act(advance: Advance) -> Generator[Done, None, None]:
        return mending.discard(app, targets, actor=actor(), advance=advance)

    return _act("discard", targets, act, as_json)


def _targets(app: PenstockApp, given: Sequence[str], chosen: EntryFilter, asked: str | None) -> list[Target]:
    """What is to be done, after asking whether what a filter has chosen shall be ``asked``."""
    targets = mending.named(app, given) if given else mending.chosen_by(app, chosen)
    if not targets:
        click.echo("no open failures match", err=True)
    elif asked and not given:
        click.confirm(f"{in_kinds(targets)} will be {asked}. Go on?", abort=True, err=True)
    return targets


def _act(verb: str, targets: Sequence[Target], act: Act, as_json: bool) -> int:
    results: list[Done] = []
    names = {entry.id: entry.short_id for entry, _ in targets}
    with _progress(verb, messages_of(targets), as_json) as advance, closing(act(advance)) as steps:
        for result in steps:
            results.append(result)
            if not as_json:
                # Not click's echo, which goes around the bar and would draw over it.
                text = f"{one_line(names[result.entry])} {one_line(result.text)}"
                print(text, file=_stream(result.done), flush=True)
    if as_json:
        print_json([result._asdict() for result in results])
    return sum(not result.done for result in results)


def _stream(done: bool) -> TextIO:
    return sys.stdout if done else sys.stderr


@contextmanager
def _progress(verb: str, total: int, as_json: bool) -> Iterator[Any]:
    """A bar on stderr for many messages, when a person looks at it."""
    console = Console(stderr=True)
    if total < 2 or as_json or not console.is_terminal:
        yield lambda _count: None
        return
    columns = (TextColumn(verb), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # What is printed to a pipe must not be drawn into the bar's terminal.
    lines = Console().is_terminal
    with Progress(*columns, console=console, transient=True, redirect_stdout=lines, redirect_stderr=lines) as bar:
        task = bar.add_task(verb, total=total)
        yield lambda count: bar.advance(task, count)
