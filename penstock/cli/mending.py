"""What `failures replay` and `failures discard` ask and print."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from penstock.app import PenstockApp
from penstock.cli.output import json_form, print_json
from penstock.operations.failures import errand as errands
from penstock.operations.failures.bench import Done
from penstock.operations.failures.entries import UNKNOWN
from penstock.operations.failures.errand import Errand, Steps, Terms
from penstock.operations.failures.pace import Stopped
from penstock.wording import counted, one_line

SAMPLE = 5
"""Failures that `--dry-run` shows."""
DONE = {"replay": "replayed", "discard": "discarded"}


def rehearse(app: PenstockApp, verb: str, errand: Errand, terms: Terms, as_json: bool) -> int:
    """Says what would be done, and does nothing; how many of those that it shows could not be."""
    shown = errands.sample(app, errand, terms.edits, SAMPLE)
    if as_json:
        sample = [each._asdict() for each in shown]
        print_json({"count": errand.total, "is_more": errand.is_more, "text": errand.text, "sample": sample})
    else:
        click.echo(f"{errand.text or 'no open failures'} would be {DONE[verb]}")
        for each in shown:
            click.echo(_line(each))
        if errand.total > len(shown) > 0:
            click.echo("…")
    return sum(not each.done for each in shown)


def act(app: PenstockApp, verb: str, errand: Errand, terms: Terms, *, yes: bool, as_json: bool) -> int:
    """Replays or discards; how many could not be, and 1 if somebody has stopped it.

    Args:
        yes: do not ask about what fingerprints or a filter have chosen.
    """
    if not errand.total:
        click.echo("no open failures match", err=True)
    elif errand.is_chosen and not yes:
        click.confirm(f"{errand.text} will be {DONE[verb]}. Go on?", abort=True, err=True)
    do = errands.replay if verb == "replay" else errands.discard
    done = left = 0
    with _progress(verb, errand, as_json) as advance, _stopping(terms.stop), _printing(as_json) as tell:
        steps: Steps = do(app, errand, terms, advance)
        try:
            with closing(steps):
                for each in steps:
                    tell(each)
                    done, left = (done + each.messages, left) if each.done else (done, left + 1)
        except Stopped:
            left += 1
            click.echo(f"stopped: {counted(done, 'failure')} {DONE[verb]}; the rest is as it was", err=True)
    return left


def _line(done: Done) -> str:
    # Without the worker's name, which the rest tells apart.
    name = done.entry if done.entry.startswith(f"{UNKNOWN}:") else done.entry.rpartition("/")[2]
    return f"{one_line(name)} {one_line(done.text)}"


@contextmanager
def _printing(as_json: bool) -> Iterator[Callable[[Done], None]]:
    """Prints each answer as it comes, as there may be a million: a line, or an element of one array for machines."""
    if not as_json:
        # Not click's echo, which goes around the bar and would draw over it.
        yield lambda done: print(_line(done), file=_stream(done.done), flush=True)
        return
    mark = "["

    def tell(done: Done) -> None:
        nonlocal mark
        click.echo(mark + json.dumps(done._asdict(), default=json_form), nl=False)
        mark = ",\n"

    try:
        yield tell
    finally:
        click.echo("[]" if mark == "[" else "]")


def _stream(done: bool) -> TextIO:
    return sys.stdout if done else sys.stderr


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C ends the work after the step that it is at; the second one ends this process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(*_: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(verb: str, errand: Errand, as_json: bool) -> Iterator[Any]:
    """A bar on stderr for many messages, when a person looks at it."""
    console = Console(stderr=True)
    if errand.total < 2 or as_json or not console.is_terminal:
        yield lambda _count: None
        return
    columns = (TextColumn(verb), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # What is printed to a pipe must not be drawn into the bar's terminal.
    lines = Console().is_terminal
    with Progress(*columns, console=console, transient=True, redirect_stdout=lines, redirect_stderr=lines) as bar:
        task = bar.add_task(verb, total=None if errand.is_more else errand.total)
        yield lambda count: bar.advance(task, count)
