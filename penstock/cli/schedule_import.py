"""`celery -A workers schedules import`: a crontab as declarations."""

from __future__ import annotations

from pathlib import Path

import click

from penstock.cli.command import Command, Word, any_app_of

NOT_ALL = 3
"""Exit code when a line was not carried over."""


class _Listed(Word):
    """A text that an environment variable holds several of, with commas between them."""

    def split_envvar_value(self, rv: str) -> list[str]:
        """The texts."""
        return [text.strip() for text in rv.split(",") if text.strip()]


@click.command(cls=Command, name="import", short_help="Makes declarations of a crontab.")
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--system", is_flag=True, help="Its lines name a user before the command, as in /etc/crontab.")
@click.option(
    "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write the module there."
)
@click.option("--force", is_flag=True, help="Overwrite the file that --output names.")
@click.option("--prefix", type=Word(), help="Stands before the name of each schedule.")
@click.option(
    "--allow",
    "commands",
    metavar="COMMAND",
    type=_Listed(),
    multiple=True,
    envvar="TASKS_SHELL_ALLOW",
    show_envvar=True,
    help="Name or path of a command that workers run; may be repeated.",
)
@click.option(
    "--environment",
    "variables",
    metavar="NAME",
    type=_Listed(),
    multiple=True,
    envvar="TASKS_SHELL_ENVIRONMENT",
    show_envvar=True,
    help="Variable that jobs may set for commands; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object: entries, remarks and the module.")
@click.pass_context
def import_crontab_command(
    context: click.Context,
    /,
    file: Path,
    system: bool,
    output: Path | None,
    force: bool,
    prefix: str | None,
    commands: tuple[str, ...],
    variables: tuple[str, ...],
    as_json: bool,
) -> None:
    """Makes a module of schedules out of a crontab; `-` reads standard input. Nothing is started by it.

    A line is carried over if it is a command that workers are allowed to run, with arguments: it becomes a job of
    tasks.shell.run, whose output is kept. What needs a shell (pipes, redirections, variables, `cd x && y`), @reboot and
    commands that are not allowed are not carried over; of each such line it is said why and what to do, and also what
    is lost of the others.

    Schedules start as cron starts jobs: also while the one before still runs, and never late.

    Without --output the module goes to stdout and all remarks to stderr.

    Exit code: 0 every line was carried over, 3 some were not, 1 refused (the reason is on stderr), 2 wrong usage.

    \b
    Examples:
      crontab -l | celery -A workers schedules import - \\
          --output schedules/moved.py
      celery -A workers schedules import /etc/crontab --system \\
          --allow /usr/local/bin/backup
    """
    from penstock.cli.crontab_import import import_crontab
    from penstock.cli.output import console_of

    is_whole = import_crontab(
        any_app_of(context),
        file,
        console=console_of(context),
        commands=commands,
        variables=variables,
        system=system,
        output=output,
        force=force,
        prefix=prefix or "",
        as_json=as_json,
    )
    context.exit(0 if is_whole else NOT_ALL)
