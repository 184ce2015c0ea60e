"""`celery -A workers check`: whether this deployment can run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from penstock.cli.command import Command, Word, app_of
from penstock.errors import DeclarationError, PenstockError

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.app import PenstockApp
    from penstock.checks.finding import Finding

WORD = Word()
"""Not empty: a probe whose variable is not set would ask something else."""


@click.command(cls=Command, short_help="Checks that this deployment can run.")
@click.option("--workers", is_flag=True, help="Asks the running workers instead: do they answer, do they claim?")
@click.option("--worker", "hostname", type=WORD, metavar="NAME", help="Asks this worker, as cpu@host; for probes.")
@click.option("--beats", is_flag=True, help="Asks for the beats instead: is one at work, is nothing overdue?")
@click.option("--beat", "beat_name", type=WORD, metavar="NAME", help="Asks for this beat, or any on this host.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: passed, and the findings.")
@click.pass_context
def check(
    context: click.Context, workers: bool, hostname: str | None, beats: bool, beat_name: str | None, as_json: bool
) -> None:
    """Checks the deployment: settings, Redis and whether it keeps jobs, SQL, tables, queues, schedules.

    Starts nothing, writes nothing and takes some seconds at most, so it suits CI and init containers. Each
    line that fails says what to do; one with a ! is a warning, and does not fail the check.

    With --workers or --worker it looks at what runs. A worker fails that does not answer, has lost Redis, or
    has room and claims nothing while jobs wait in its queues.

    With --beats or --beat it reads in the ledger who looks after the schedules, and does not ask Redis. A beat fails
    that has not looked what is due for 20 seconds; of several, one that is at work is enough. With --beats no schedule
    may be overdue for more than ten seconds.

    Exit code: 0 when everything passed, 1 otherwise.

    \b
    Examples:
      celery -A workers check && celery -A workers worker
      celery -A workers check --worker cpu@$HOSTNAME
      celery -A workers check --beat $HOSTNAME
    """
    from penstock.checks.schedules import check_beats
    from penstock.cli.output import console_of, print_json

    app = app_of(context)
    findings = []
    if workers or hostname:
        findings += _workers(app, hostname)
    if beats or beat_name:
        findings += check_beats(app.settings.database_url, beat_name)
    findings = findings or _findings(app)
    passed = all(finding.passed for finding in findings)
    if as_json:
        print_json({"passed": passed, "findings": [asdict(finding) for finding in findings]})
    else:
        _print_findings(console_of(context), findings)
    context.exit(0 if passed else 1)


def _findings(app: PenstockApp) -> list[Finding]:
    from penstock import checks
    from penstock.checks.finding import Finding

    settings = app.settings
    return [
        # Bad settings end the import of the app, with all their problems.
        Finding("settings", True, f"var folder {settings.var}, time zone {settings.timezone}"),
        *checks.check_servers(settings),
        _queues(app),
        *_breakers(app),
        *_schedules(app),
    ]


def _breakers(app: PenstockApp) -> list[Finding]:
    from penstock import checks
    from penstock.engine.attempts import breaker_of

    found = [(name, breaker, task) for name, task in app.tasks.items() if (breaker := breaker_of(task))]
    expiring = [(name, breaker, getattr(task, "expires", None)) for name, breaker, task in found]
    return checks.check_breakers(
        (name, breaker, expires if isinstance(expires, (int, float)) else None) for name, breaker, expires in expiring
    )


def _schedules(app: PenstockApp) -> list[Finding]:
    from penstock.checks.finding import Finding
    from penstock.checks.schedules import check_schedules
    from penstock.scheduler.declarations import declared_by

    try:
        app.loader.import_default_modules()
        return check_schedules(declared_by(app), app.tasks)
    except (PenstockError, ImportError) as error:
        return [Finding("schedules", False, str(error))]


def _workers(app: PenstockApp, hostname: str | None) -> list[Finding]:
    from kombu.exceptions import OperationalError
    from redis.exceptions import RedisError

    from penstock import checks
    from penstock.broker.connection import connect
    from penstock.broker.keys import Keys
    from penstock.broker.scripts import Scripts
    from penstock.checks.finding import Finding
    from penstock.engine.health import health

    try:
        checks.require_redis(app.settings)
    except PenstockError as error:
        return [Finding("redis", False, str(error))]
    scripts = Scripts(connect(app.settings.redis_url, app.settings.broker_options), Keys())
    try:
        found = health(app, scripts, hostname)
    except (RedisError, OperationalError, OSError) as error:
        return [Finding("redis", False, f"it answered, and then no more ({error}); ask again, or look at its log")]
    nobody = Finding("workers", False, "none runs; start one with `celery -A workers worker`")
    return [Finding(worker.hostname, worker.healthy, worker.text) for worker in found] or [nobody]


def _queues(app: PenstockApp) -> Finding:
    from penstock import checks
    from penstock.checks.finding import Finding

    try:
        return checks.check_queues(_queue_of_task(app), app.profiles)
    except PenstockError as error:
        return Finding("queues", False, str(error))


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
    from penstock.wording import one_line, printable

    rows = []
    for finding in findings:
        mark, mark_style, style = _looks(finding)
        text = Text(printable(finding.text), style=style)
        rows.append((Text(mark, style=mark_style), Text(one_line(finding.name)), text))
    print_rows(console, rows)


def _looks(finding: Finding) -> tuple[str, str, str]:
    """The mark, its style and the text's."""
    if not finding.passed:
        return "✘", "bold red", "red"
    return ("!", "bold yellow", "yellow") if finding.warning else ("✔", "green", "")
