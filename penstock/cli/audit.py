"""`celery -A workers audit`: whether every job that was ever accepted is accounted for."""

from __future__ import annotations

import click

from penstock.cli.command import Command, Word, booked_app_of

CANNOT_TELL = 2


@click.command(cls=Command, short_help="Balances the books: is every accepted job accounted for?")
@click.option("--queue", "names", type=Word(), multiple=True, help="Show this queue only; repeatable.")
@click.option("--deep/--quick", default=False, help="Look at every message and every open row.  [default: --quick]")
@click.option("--limit", type=click.IntRange(0, 10_000), default=20, show_default=True, help="Named of each problem.")
@click.option("--rebase", is_flag=True, help="Take the present as a new beginning of the counts.")
@click.option("--fail-lost", is_flag=True, help="Record lost jobs as failed, so that `jobs retry` can run them.")
@click.option("--yes", is_flag=True, help="Do not ask before --rebase or --fail-lost.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: the verdict, each queue, and the problems.")
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
    as_json: bool,
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

    Exit code: 0 balanced, 1 not balanced, 2 cannot tell (a server is away, or Redis has forgotten its counts).

    \b
    Examples:
      celery -A workers audit
      celery -A workers audit --deep --limit 100 --json
    """
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
