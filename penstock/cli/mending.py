"""What `failures replay` and `failures discard` ask and print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from penstock.actor import actor
from penstock.app import PenstockApp
from penstock.cli.output import print_json
from penstock.operations.failures import failed, mending
from penstock.operations.failures.bench import Advance, Done
from penstock.operations.failures.entries import EntryFilter
from penstock.operations.failures.failed import Plan
from penstock.operations.failures.mending import Target, in_kinds, messages_of
from penstock.operations.wording import one_line

Act = Callable[[Advance], Generator[Done, None, None]]


class Chosen(NamedTuple):
    """What is to be done, after asking."""

    errors: list[Plan]
    targets: list[Target]

    @property
    def total(self) -> int:
        """How many jobs and messages."""
        return sum(plan.count for plan in self.errors) + messages_of(self.targets)


def replay(
    app: PenstockApp, given: Sequence[str], chosen: EntryFilter, *, rate: float | None, yes: bool, as_json: bool
) -> int:
    """Replays failures; how many of them could not be.

    Args:
        given: ids and fingerprints; when empty, all that ``chosen`` matches.
        rate: jobs and messages a second; None: no limit.
        yes: do not ask about what fingerprints or a filter have chosen.

    Raises:
        EntryNotFound: one of the ids is none, and nothing was done.
    """
    found = _choose(app, given, chosen, None if yes else "replayed")

    def act(advance: Advance) -> Generator[Done, None, None]:
        for plan in found.errors:
            yield from failed.replay(app, plan.fingerprint, actor=actor(), rate=rate, advance=advance)
        if found.targets:
            yield from mending.replay(app, found.targets, actor=actor(), rate=rate, advance=advance)

    return _act("replay", found, act, as_json)


def discard(
    app: PenstockApp, given: Sequence[str], chosen: EntryFilter, *, rate: float | None, yes: bool, as_json: bool
) -> int:
    """Discards failures; the same arguments and answer as :func:`replay`."""
    found = _choose(app, given, chosen, None if yes else "discarded")

    def act(advance: Advance) -> Generator[Done, None, None]:
        for plan in found.errors:
            yield from failed.discard(app, plan.fingerprint, actor=actor(), rate=rate, advance=advance)
        if found.targets:
            yield from mending.discard(app, found.targets, actor=actor(), rate=rate, advance=advance)

    return _act("discard", found, act, as_json)


def _choose(app: PenstockApp, given: Sequence[str], chosen: EntryFilter, asked: str | None) -> Chosen:
    """Asks whether what fingerprints or a filter have chosen shall be ``asked``; what has an id of its own is named."""
    plans = {id: failed.plan(app, id) for id in given}
    errors = [plan for plan in plans.values() if plan]
    ids = [id for id, plan in plans.items() if plan is None]
    targets = (mending.named(app, ids) if ids else []) if given else mending.chosen_by(app, chosen)
    found = Chosen([plan for plan in errors if plan.count], targets)
    if not found.total:
        click.echo("no open failures match", err=True)
    elif asked and (found.errors or not given):
        parts = [f"{plan.text} of {plan.fingerprint}" for plan in found.errors]
        if not given:
            parts.append(in_kinds(targets))
        click.confirm(f"{', '.join(parts)} will be {asked}. Go on?", abort=True, err=True)
    return found


def _act(verb: str, found: Chosen, act: Act, as_json: bool) -> int:
    results: list[Done] = []
    names = {entry.id: entry.short_id for entry, _ in found.targets}
    with _progress(verb, found.total, as_json) as advance, closing(act(advance)) as steps:
        for result in steps:
            results.append(result)
            if not as_json:
                # Not click's echo, which goes around the bar and would draw over it.
                text = f"{one_line(names.get(result.entry, result.entry))} {one_line(result.text)}"
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
