"""What `audit --rebase` and `audit --fail-lost` ask and print."""

from __future__ import annotations

import click

from penstock.actor import actor
from penstock.app import PenstockApp
from penstock.operations.books import closing
from penstock.wording import counted


def rebase(app: PenstockApp, *, yes: bool) -> None:
    """Takes the present as a new beginning, after asking."""
    differences = closing.plan_rebase(app)
    if not yes:
        changed = sum(differences.values())
        click.confirm(f"What was accepted will be corrected by {changed:+,}. Go on?", abort=True, err=True)
    closing.rebase(app, differences, actor=actor())


def fail_lost(app: PenstockApp, *, yes: bool) -> None:
    """Records lost jobs as failed, after asking."""
    lost = closing.lost_jobs(app)
    if not lost:
        click.echo("no job is lost, or not for longer than a minute", err=True)
        return
    if not yes:
        click.confirm(f"{counted(len(lost), 'lost job')} will be recorded as failed. Go on?", abort=True, err=True)
    failed = closing.fail_lost(app, lost, actor=actor())
    click.echo(f"{counted(failed, 'lost job')} recorded as failed; `jobs retry` runs them anew", err=True)
