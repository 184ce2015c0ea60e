"""`celery -A workers audit`: whether every job that was ever accepted is accounted for, and who did what."""

from __future__ import annotations

from typing import Any

import click

from penstock.cli.command import Command, Since, Word, booked_app_of, in_zone

CANNOT_TELL = 2
WORD = Word()


@click.command(cls=Command, short_help="Balances the books: is every accepted job accounted for? --log: who did what.")
@click.option("--queue", "names", type=Word(), multiple=True, help="Show this queue only; repeatable.")
@click.option("--deep/--quick", default=False, help="Look at every message and every open row.  [default: --quick]")
@click.option(
    "--limit", type=click.IntRange(0, 10_000), default=20, show_default=True, help="Named of each problem, or deeds."
)
@click.option("--rebase", is_flag=True, help="Take the present as a new beginning of the counts.")
@click.option("--fail-lost", is_flag=True, help="Record lost jobs as failed, so that `jobs retry` can run them.")
@click.option("--yes", is_flag=True, help="Do not ask before --rebase or --fail-lost.")
@click.option("--log", "is_log", is_flag=True, help="Show instead who did what to jobs, queues and schedules.")
@click.option("--actor", type=WORD, help="With --log: done by exactly this person or process.")
@click.option("--action", type=WORD, help="With --log: deeds of exactly this kind, e.g. retry.")
@click.option("--job", "job_id", type=WORD, metavar="ID", help="With --log: done to the job with this full id.")
@click.option("--since", type=Since(), help="With --log: within 30m, 2h, 7d, or since an ISO time.")
@click.option("--until", type=Since(), help="With --log: before that, given like --since.")
@click.option("--after", type=WORD, metavar="CURSOR", help="With --log: the page after this cursor.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: verdict, queues and problems; or the deeds.")
@click.pass_context
def audit(
    context: click.Context,
    /,
    names: tuple[str, ...],
    deep: bool,
    limit: int,
    rebase: bool,
    fail_lost: bool,
    yes: bool,
    is_log: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """Balances the books: what was ever accepted against all that wait, run, have ended, or were taken away.

    Redis counts what is accepted, and the ledger what ends, also of jobs whose rows are long gone. In between a job
    is unpublished (in the outbox), ready, parked, blocked or in flight. Jobs of stock producers are counted beside.

    When the sums differ it looks at messages and open rows one by one, up to a thousand by itself and all of them
    with --deep, and tells which jobs break the balance and what to do about each.

    --fail-lost records jobs as failed that have no message anywhere and have been silent for a minute. --rebase is
    for a Redis that has forgotten its counts: from then on the present counts as balanced. Both are noted in the
    audit of the ledger.

    In a pipe each queue is one line of tab-separated columns: queue, accepted, unpublished, ready, parked, blocked,
    in flight, succeeded, failed, cancelled, purged, elsewhere, difference; what is wrong is told on stderr.

    --log shows who did what instead, the newest first; in a pipe as tab-separated columns: time, actor, action, job,
    details in JSON. When there is more, the last line has the cursor for --after (in a pipe it goes to stderr).

    Exit code: 0 balanced, 1 not balanced, 2 cannot tell (a server is away, or Redis has forgotten its counts).

    \b
    Examples:
      celery -A workers audit
      celery -A workers audit --deep --limit 100 --json
      celery -A workers audit --log --action purge --since 7d
    """
    if is_log:
        if names or deep or rebase or fail_lost or yes:
            raise click.UsageError("--log shows who did what and balances nothing; leave the other options out")
        _show_log(context, filters, limit, as_json)
        return
    if any(value is not None for value in filters.values()):
        raise click.UsageError("--actor, --action, --job, --since, --until and --after belong to --log; add it")
    from penstock.cli import books
    from penstock.cli.balance_sheet import print_report
    from penstock.cli.output import console_of, print_json
    from penstock.errors import BrokerUnavailable, LedgerOutdated, LedgerUnavailable
    from penstock.operations.books.as_json import report_as_json
    from penstock.operations.books.auditing import audit as balance_of

    if rebase and fail_lost:
        raise click.UsageError("--rebase and --fail-lost exclude each other: fail the lost jobs first")
    app = booked_app_of(context)
    try:
        if fail_lost:
            books.fail_lost(app, yes=yes)
        if rebase:
            books.rebase(app, yes=yes)
        report = balance_of(app, names, deep=deep or rebase or fail_lost, limit=limit)
    except (BrokerUnavailable, LedgerUnavailable, LedgerOutdated) as error:
        click.echo(f"penstock: cannot tell: {error}", err=True)
        context.exit(CANNOT_TELL)
    if as_json:
        print_json(report_as_json(report))
    else:
        print_report(console_of(context), report)
    context.exit(report.verdict.value)


def _show_log(context: click.Context, filters: dict[str, Any], limit: int, as_json: bool) -> None:
    from penstock.cli import audit_log
    from penstock.cli.output import console_of, print_json
    from penstock.ledger.audit import AuditFilter, AuditPlace, list_audit
    from penstock.ledger.session import reading

    settings = booked_app_of(context).settings
    after = filters.pop("after")
    for bound in ("since", "until"):
        filters[bound] = in_zone(filters[bound], settings.timezone)
    place = AuditPlace.of(after) if after else None
    with reading(settings.database_url) as connection:
        page = list_audit(connection, AuditFilter(**filters), max(limit, 1), place)
    if as_json:
        print_json(audit_log.page_as_json(page))
    else:
        audit_log.print_log(console_of(context), page, settings.timezone)
