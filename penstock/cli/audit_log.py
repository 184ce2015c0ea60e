"""Who did what, for people and for machines."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.text import Text

from penstock.cli.output import json_form, print_rows
from penstock.ledger.audit import LOOKED_AT, AuditPage
from penstock.ledger.rows import AuditRow
from penstock.operations.wording import short_id
from penstock.wording import one_line

HEADINGS = ("at", "by", "action", "job", "details")


def print_log(console: Console, page: AuditPage, zone: str) -> None:
    """A table on a terminal; in a pipe a line for each deed, and where the list goes on to stderr."""
    if not console.is_terminal:
        for row in page.rows:
            columns = (row.at.isoformat(), row.actor, row.action, row.job_id or "", _details(row))
            click.echo("\t".join(one_line(column) for column in columns))
        if page.after:
            click.echo(_more_of(page), err=True)
        return
    lines = [[Text(heading, style="dim") for heading in HEADINGS]] if page.rows else []
    print_rows(console, [*lines, *(_cells(row, ZoneInfo(zone)) for row in page.rows)])
    if not page.rows:
        console.print(Text("nobody has done such a thing" + (" so far" if page.is_cut_short else ""), style="dim"))
    if page.after:
        console.print(Text(_more_of(page), style="dim"), soft_wrap=True)


def page_as_json(page: AuditPage) -> dict[str, Any]:
    """``after`` is None at the end of the list."""
    return {
        "audit": [asdict(row) for row in page.rows],
        "after": page.after.cursor if page.after else None,
        "is_cut_short": page.is_cut_short,
    }


def _cells(row: AuditRow, zone: ZoneInfo) -> list[Text]:
    return [
        Text(f"{row.at.astimezone(zone):%Y-%m-%d %H:%M:%S}"),
        Text(one_line(row.actor)),
        Text(one_line(row.action)),
        Text(one_line(short_id(row.job_id or ""))),
        Text(one_line(_details(row)), style="dim"),
    ]


def _details(row: AuditRow) -> str:
    return json.dumps(row.details, ensure_ascii=False, default=json_form) if row.details else ""


def _more_of(page: AuditPage) -> str:
    assert page.after is not None
    if page.is_cut_short:
        back = f"{page.after.at:%Y-%m-%d %H:%M:%S} UTC"
        return f"looked at {LOOKED_AT:,} deeds, back to {back}; look on with --after {page.after.cursor}"
    return f"there are more: --after {page.after.cursor}"
