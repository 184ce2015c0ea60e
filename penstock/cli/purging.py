"""What `ledger purge` asks and prints."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import closing

import click

from penstock.actor import actor
from penstock.cli.output import print_json
from penstock.config import Settings
from penstock.ledger import schema
from penstock.operations.retention import sweep
from penstock.retention import RetentionRules, read_rules
from penstock.wording import counted


def purge_ledger(settings: Settings, given: str | None, *, yes: bool, as_json: bool) -> None:
    """Asks, deletes in batches, and tells how far it is.

    Raises:
        LedgerUnavailable: SQL went away; what was deleted before is deleted.
    """
    rules = settings.retention if given is None else _read(given)
    schema.require_newest(settings.database_url)
    if not yes:
        click.confirm(f"What is older than {rules} will be deleted. Delete it?", abort=True, err=True)
    deleted = Counter[str]()
    try:
        with closing(sweep(settings, rules, actor=actor())) as batches:
            for deleted in batches:
                _tell(f"{counted(deleted.total(), 'row')} deleted")
    finally:
        _tell("")
    if as_json:
        print_json({"rules": str(rules), "deleted": deleted})
        return
    what = ", ".join(f"{count:,} {name}" for name, count in deleted.items())
    click.echo(f"{counted(deleted.total(), 'row')} deleted" + (f": {what}" if what else ""))


def _read(given: str) -> RetentionRules:
    try:
        return read_rules(given)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--rules") from None


def _tell(progress: str) -> None:
    """On a terminal only, always in the same line."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{progress}", nl=False, err=True)
