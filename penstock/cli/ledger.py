"""`celery -A workers ledger …`: the tables in which jobs are recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import click

from penstock.cli.command import Group, booked_app_of
from penstock.errors import LedgerOutdated
from penstock.job import State


@click.group(cls=Group)
def ledger() -> None:
    """The tables in which jobs are recorded.

    Exit code: 0 done, 1 refused or not up to date (the reason is on stderr), 2 wrong usage.
    """


@ledger.command("upgrade", short_help="Creates the tables or brings them up to date.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with the revisions before and now.")
@click.pass_context
def upgrade(context: click.Context, as_json: bool) -> None:
    """Brings the tables to the revision that this version needs, and creates them the first time.

    Does nothing when they are there. Run it before you start new code, once per deployment.

    \b
    Example:
      celery -A workers ledger upgrade
    """
    from alembic.util import CommandError

    from penstock.checks import found_revision
    from penstock.cli.output import print_json
    from penstock.ledger import schema
    from penstock.ledger.session import address

    url = booked_app_of(context).settings.database_url
    before, newest = found_revision(url), schema.newest_revision()
    try:
        schema.upgrade(url)
    except CommandError as error:
        raise LedgerOutdated(
            f"the ledger at {address(url)} is at revision {before}, which this version does not know; use "
            "the version that made it, or name another DATABASE_URL"
        ) from error
    if as_json:
        print_json({"database": address(url), "before": before, "revision": newest})
        return
    if before == newest:
        click.echo(f"{address(url)} is at revision {newest} already; nothing to do")
        return
    origin = f"it was at {before}" if before else "it had no tables"
    click.echo(f"{address(url)} is at revision {newest} now; {origin}")


@ledger.command("purge", short_help="Deletes what the rules of retention no longer keep.")
@click.option("--rules", help="Other rules than PENSTOCK_RETENTION, written like it: succeeded=7d,task:reports.*=1d.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: the rules, and how many rows of what went.")
@click.pass_context
def purge(context: click.Context, rules: str | None, yes: bool, as_json: bool) -> None:
    """Deletes what the rules of retention no longer keep, now and all of it.

    Keepers of workers do the same all the time, a batch at a time. Jobs that have not ended, and those whose chord has
    not, stay whatever the rules say. Rows go in batches, each in a transaction of its own, so it may be interrupted
    and repeated, and workers go on recording meanwhile. The audit has the counts.

    \b
    Examples:
      celery -A workers ledger purge
      celery -A workers ledger purge --rules succeeded=1d,task:reports.*=2h --yes
    """
    from penstock.cli.purging import purge_ledger

    purge_ledger(booked_app_of(context).settings, rules, yes=yes, as_json=as_json)


@dataclass(frozen=True)
class Status:
    """What `ledger status` tells; without tables the rest is None."""

    database: str
    revision: str | None
    needed: str
    server: str | None = None
    bytes: int | None = None
    states: dict[str, int] | None = None
    at_least: list[str] | None = None
    """States of which there are more than the number says: nobody counts millions of rows for this."""
    oldest: datetime | None = None
    newest: datetime | None = None

    @property
    def up_to_date(self) -> bool:
        """Whether these are the tables that this version needs."""
        return self.revision == self.needed


@ledger.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Shows the database, its revision, and how much it holds. Changes nothing.

    Exit code: 0 when the tables are those that this version needs, 1 otherwise.

    \b
    Example:
      celery -A workers ledger status --json
    """
    from rich.text import Text

    from penstock.cli.output import console_of, print_json, print_rows

    found = _status(booked_app_of(context).settings.database_url)
    if as_json:
        print_json({**asdict(found), "up_to_date": found.up_to_date})
    else:
        print_rows(console_of(context), [(Text(name, style="dim"), Text(text)) for name, text in _lines(found)])
    if not found.up_to_date:
        raise LedgerOutdated(_remedy(found))


def _status(url: str) -> Status:
    from penstock.checks import found_revision
    from penstock.ledger import queries, schema, search
    from penstock.ledger.session import address, reading

    bare = Status(address(url), found_revision(url), schema.newest_revision())
    if bare.revision is None:
        return bare
    with reading(url) as connection:
        oldest, newest = search.span_of_jobs(connection)
        counts = search.count_by_state(connection, search.JobFilter())
        return replace(
            bare,
            server=queries.ping(connection),
            bytes=queries.bytes_used(connection),
            states={state.value: counts.states.get(state, 0) for state in State},
            at_least=sorted(state.value for state in counts.at_least),
            oldest=oldest,
            newest=newest,
        )


def _remedy(found: Status) -> str:
    state = f"is at revision {found.revision}" if found.revision else "has no tables yet"
    return f"the ledger {state}, this version needs {found.needed}; run `celery -A workers ledger upgrade`"


def _lines(found: Status) -> Iterator[tuple[str, str]]:
    from penstock.wording import distance

    now = datetime.now(UTC)
    yield "database", found.database + (f", version {found.server}" if found.server else "")
    newest = "the newest" if found.up_to_date else f"needed is {found.needed}"
    yield "revision", f"{found.revision or 'none'}, {newest}"
    if found.bytes is not None:
        yield "size", f"{found.bytes / 1_000_000:,.1f} MB"
    if found.states is not None:
        more = dict.fromkeys(found.at_least or (), "+")
        states = ", ".join(f"{count:,}{more.get(state, '')} {state}" for state, count in found.states.items() if count)
        total = f"{sum(found.states.values()):,}{'+' if more else ''}"
        yield "jobs", total + (f": {states}" if states else "")
    for name, moment in (("oldest", found.oldest), ("newest", found.newest)):
        if moment:
            yield name, f"changed {distance(moment, now)}, at {moment:%Y-%m-%d %H:%M:%S} UTC"
