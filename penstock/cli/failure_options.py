"""Options of `celery -A workers failures …`: which failures are meant, how fast, and with which arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.command import NamedValue, Since, Word
from penstock.cli.rate import Rate

if TYPE_CHECKING:
    from penstock.operations.jobs.edits import Edits

WORD = Word()
KINDS = ("buried", "quarantined", "unknown")
FAILED = "failed"


def filters(*more: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options that choose failures; all that are given must hold.

    Args:
        more: further ones.
    """
    return lambda command: _with_filters(command, more)


def _with_filters(command: Callable[..., Any], more: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:
    for option in reversed(
        [
            click.option("--kind", type=click.Choice((FAILED, *KINDS)), help="Of this kind only."),
            click.option("--task", type=WORD, help="Full name of a task."),
            click.option("--queue", type=WORD, help="Name of a queue."),
            click.option("--reason", type=WORD, help="Text in what happened."),
            click.option(
                "--since",
                type=Since(),
                help="Happened within 30m, 2h, 7d, or since an ISO time (zone: PENSTOCK_TIMEZONE).",
            ),
            *more,
        ]
    ):
        command = option(command)
    return command


CHOICES = (
    click.option("--error", type=WORD, help="Failed jobs: a fingerprint, or text in the error's type or message."),
    click.option("--tag", type=WORD, help="Failed jobs with this tag."),
    click.option("--until", type=Since(), help="Happened before this age or time."),
)


def acting(command: Callable[..., Any]) -> Callable[..., Any]:
    """What replay and discard have in common."""
    options: list[Callable[..., Any]] = [
        click.argument("entries", metavar="[ENTRY]...", type=WORD, nargs=-1),
        filters(*CHOICES),
        click.option("--all", "everything", is_flag=True, help="Every open failure."),
        click.option("--limit", type=click.IntRange(1), help="At most so many, the oldest first.  [default: all]"),
        click.option("--rate", type=Rate(), help="At most so many a second: 50/s, or 10/m.  [default: no limit]"),
        click.option("--dry-run", is_flag=True, help="Say how many there are and show some; do nothing."),
        click.option("--yes", is_flag=True, help="Do not ask before acting on what errors and filters choose."),
        click.option("--json", "as_json", is_flag=True, help="One JSON array with what was done with each."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def editing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of replay that change arguments."""
    options: list[Callable[..., Any]] = [
        click.option(
            "--set", "set_", type=NamedValue(), multiple=True, help="NAME=JSON: an argument and its new value."
        ),
        click.option(
            "--unset", type=WORD, multiple=True, help="NAME of an argument to be left out, however it was given."
        ),
        click.option("--rename", type=NamedValue(), multiple=True, help="OLD=NEW name of an argument."),
        click.option("--args", type=WORD, help="JSON array in place of all positional arguments, of a single job."),
        click.option("--kwargs", type=WORD, help="JSON object in place of all named arguments, of a single job."),
        click.option(
            "--at-most-waiting",
            type=click.IntRange(1),
            metavar="N",
            help="Wait while the queue of the next job holds N messages or more.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def edits_of(
    set_: Sequence[tuple[str, str]],
    unset: Sequence[str],
    rename: Sequence[tuple[str, str]],
    args: str | None,
    kwargs: str | None,
) -> Edits:
    """What these options ask for."""
    from penstock.operations.jobs.edits import Edits

    return Edits(
        args=_json("--args", args, list) if args is not None else None,
        kwargs=_json("--kwargs", kwargs, dict) if kwargs is not None else None,
        rename=dict(rename),
        unset=tuple(unset),
        set={name: _json(f"--set {name}", text) for name, text in set_},
    )


def _json(option: str, text: str, kind: type = object) -> Any:
    import json

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise click.UsageError(f'{option}: {text!r} is no JSON; write 7, true, null, [1, 2], or "text"') from None
    if not isinstance(value, kind):
        raise click.UsageError(f"{option}: {text!r} is no JSON {'array' if kind is list else 'object'}")
    return value
