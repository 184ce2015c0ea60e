"""Reads command lines from standard input and says how `celery` understands them, without running any.

A process of its own, because the app takes its settings from the environment when it is imported. Prints, as JSON,
for each command line its parameters or the error, the app's profiles that are not started by hand, and the project's
top-level modules in use.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click
from celery.bin.celery import celery

ROOT = Path(__file__).parents[2]


def understood(words: list[str]) -> dict[str, Any]:
    """The parameters of the innermost command, or the error that a person would get."""
    try:
        context = _parse(celery, words[0], words[1:], None)
    except click.ClickException as error:
        return {"error": error.format_message()}
    if context.args:
        return {"error": f"words too many: {context.args}"}
    return {"path": context.command_path, **context.params}


def _parse(command: click.Command, name: str, words: list[str], parent: click.Context | None) -> click.Context:
    context = command.make_context(name, list(words), parent=parent)
    if not isinstance(command, click.Group):
        return context
    subname, subcommand, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    assert subcommand is not None
    if command is celery:
        # Its body finds the app, which the options of its commands ask.
        context.invoked_subcommand = subname
        context.invoke(celery.callback, **context.params)
    return _parse(subcommand, str(subname), rest, context)


def main() -> None:
    """Reads a list of command lines, each a list of words."""
    commands = [understood(words) for words in json.load(sys.stdin)]
    from workers import app

    app.finalize()
    served = [profile for profile in app.profiles if not profile.by_hand]
    profiles = [[profile.name, list(profile.queues), profile.children] for profile in served]
    files = [Path(module.__file__) for module in sys.modules.values() if getattr(module, "__file__", None)]
    inside = [file.relative_to(ROOT).parts for file in files if file.is_relative_to(ROOT)]
    used = sorted({parts[0].removesuffix(".py") for parts in inside if not parts[0].startswith(".")})
    json.dump({"commands": commands, "profiles": profiles, "modules": used}, sys.stdout, default=str)


if __name__ == "__main__":
    main()
