"""`celery -A workers check`: whether this deployment can run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from penstock.cli.command import Command, app_of
from penstock.errors import DeclarationError, PenstockError

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.app import PenstockApp
    from penstock.checks import Finding


@click.command(cls=Command, short_help="Checks that this deployment can run.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: passed, and the findings.")
@click.pass_context
def check(context: click.Context, as_json: bool) -> None:
    """Checks the deployment: settings, Redis, SQL, tables, queues, schedules.

    Starts nothing, writes nothing and takes some seconds at most, so it suits CI and init containers. Each
    line that fails says what to do.

    Exit code: 0 when everything passed, 1 otherwise.

    \b
    Example:
      celery -A workers check && celery -A workers worker
    """
    from penstock.cli.output import console_of, print_json

    findings = _findings(app_of(context))
    passed = all(finding.passed for finding in findings)
    if as_json:
        print_json({"passed": passed, "findings": [asdict(finding) for finding in findings]})
    else:
        _print_findings(console_of(context), findings)
    context.exit(0 if passed else 1)


def _findings(app: PenstockApp) -> list[Finding]:
    from penstock import checks

    settings = app.settings
    return [
        # Bad settings end the import of the app, with all their problems.
        checks.Finding("settings", True, f"var folder {settings.var}, time zone {settings.timezone}"),
        *checks.check_servers(settings),
        _queues(app),
        checks.check_schedules(app.schedules),
    ]


def _queues(app: PenstockApp) -> Finding:
    from penstock import checks

    try:
        return checks.check_queues(_queue_of_task(app), app.profiles)
    except PenstockError as error:
        return checks.Finding("queues", False, str(error))


def _queue_of_task(app: PenstockApp) -> dict[str, str]:
    """Where the jobs of each task wait, Celery's own tasks left out."""
    try:
        app.loader.import_default_modules()
    except ImportError as error:
        raise DeclarationError(f"a module of the settings imports or include: {error}; correct its name") from error
    default = app.conf.task_default_queue
    return {
        name: getattr(task, "queue", None) or default
        for name, task in app.tasks.items()
        if not name.startswith("celery.")
    }


def _print_findings(console: Console, findings: list[Finding]) -> None:
    from rich.text import Text

    from penstock.cli.output import print_rows

    good, bad = Text("✔", style="green"), Text("✘", style="bold red")
    print_rows(
        console,
        [
            (
                good if finding.passed else bad,
                Text(finding.name),
                Text(finding.text, style="" if finding.passed else "red"),
            )
            for finding in findings
        ],
    )
