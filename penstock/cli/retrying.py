"""What `jobs retry` prints."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

import click

from penstock.actor import actor
from penstock.app import PenstockApp
from penstock.cli.output import print_json
from penstock.operations.jobs.retry import Edited, Retried, retry, retry_edited


def retry_each(app: PenstockApp, given: Sequence[str], as_json: bool) -> None:
    """Both ids of each job as it is submitted; in JSON at the end, also when Redis fails half way."""
    submitted: list[Retried] = []
    with closing(retry(app, given, actor=actor())) as retried:
        try:
            for done in retried:
                submitted.append(done)
                if not as_json:
                    _print(done)
        finally:
            if as_json:
                print_json([asdict(done) for done in submitted])


def retry_with(app: PenstockApp, given: str, edited: dict[str, Any], as_json: bool) -> None:
    """One job with other arguments; both of its ids."""
    done = retry_edited(app, given, Edited(**edited), actor=actor())
    if as_json:
        print_json([asdict(done)])
    else:
        _print(done)


def _print(done: Retried) -> None:
    click.echo(f"{done.job} → {done.new}")
