"""`audit --log`: who did what, page by page."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console
from sqlalchemy import insert

from penstock.cli.audit import audit
from penstock.cli.audit_log import print_log
from penstock.ledger import audit as auditing
from penstock.ledger.audit import AuditFilter, list_audit
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import audit as table
from tests.cli.conftest import Ledger, Run
from tests.conftest import NewLedger

NOW = datetime.now(UTC)
LONG = "3f2a91c0-5b1e-4c59-9a53-0c7d1f0e8a11"


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str]:
    """One database will do: the statements are tested on each, in tests/ledger/test_audit.py."""
    with new_ledger("sqlite") as url:
        yield url


@pytest.fixture
def deeds(ledger: Ledger) -> Ledger:
    """Three, each an hour older than the one before."""
    told = (
        ("ada", "retry", LONG, {"new": "8"}),
        ("bob", "purge", None, {"queue": "web\n\x1b[31m"}),
        ("ada", "cancel", "9", None),
    )
    rows = [
        {"at": NOW - timedelta(hours=number), "actor": actor, "action": action, "job_id": job, "details": details}
        for number, (actor, action, job, details) in enumerate(told)
    ]
    with writing(ledger.url) as connection:
        connection.execute(insert(table), rows)
    return ledger


def actions(run: Run, *options: str) -> list[str]:
    result = run(audit, "--log", *options)
    assert result.exit_code == 0, result.stderr
    return [line.split("\t")[2] for line in result.stdout.splitlines()]


def test_a_pipe_gets_one_line_of_tab_separated_columns_per_deed(run: Run, deeds: Ledger) -> None:
    first, second, third = (line.split("\t") for line in run(audit, "--log").stdout.splitlines())
    assert datetime.fromisoformat(first[0]) == NOW
    assert first[1:] == ["ada", "retry", LONG, '{"new": "8"}']
    assert second[3] == ""
    assert "\x1b" not in second[4]
    assert third[1:] == ["ada", "cancel", "9", ""]


def test_each_filter_keeps_only_what_it_names(run: Run, deeds: Ledger) -> None:
    assert actions(run) == ["retry", "purge", "cancel"]
    assert actions(run, "--actor", "ada") == ["retry", "cancel"]
    assert actions(run, "--action", "purge") == ["purge"]
    assert actions(run, "--job", LONG) == ["retry"]
    assert actions(run, "--since", "90m") == ["retry", "purge"]
    assert actions(run, "--until", "90m") == ["cancel"]
    assert actions(run, "--actor", "ada", "--action", "purge") == []


def test_pages_follow_each_other_by_the_cursor(run: Run, deeds: Ledger) -> None:
    first = run(audit, "--log", "--limit", "2")
    assert first.stderr.startswith("there are more: --after ")
    cursor = first.stderr.split()[-1]
    assert actions(run, "--after", cursor) == ["cancel"]
    assert json.loads(run(audit, "--log", "--limit", "2", "--json").stdout)["after"] == cursor
    assert json.loads(run(audit, "--log", "--limit", "0", "--json").stdout)["audit"][0]["action"] == "retry"


def test_json_has_every_column(run: Run, deeds: Ledger) -> None:
    found = json.loads(run(audit, "--log", "--json").stdout)
    assert (found["after"], found["is_cut_short"], len(found["audit"])) == (None, False, 3)
    assert found["audit"][0] == {
        "id": 1,
        "at": NOW.isoformat(),
        "actor": "ada",
        "action": "retry",
        "job_id": LONG,
        "details": {"new": "8"},
    }


def shown(url: str, chosen: AuditFilter, limit: int = 10) -> str:
    """As on a terminal."""
    console = Console(file=io.StringIO(), force_terminal=True, width=120, highlight=False, color_system=None)
    with reading(url) as connection:
        print_log(console, list_audit(connection, chosen, limit), "Asia/Tokyo")
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_people_get_a_table_with_times_of_their_zone(deeds: Ledger) -> None:
    heading, first, *_, last = shown(deeds.url, AuditFilter(), 2).splitlines()
    assert heading.split() == ["at", "by", "action", "job", "details"]
    assert first.split() == [
        *f"{NOW + timedelta(hours=9):%Y-%m-%d %H:%M:%S}".split(),
        "ada",
        "retry",
        "3f2a91c0",
        '{"new":',
        '"8"}',
    ]
    assert last.startswith("there are more: --after ")


def test_people_are_told_that_nothing_was_found_and_how_far_was_looked(
    deeds: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown(deeds.url, AuditFilter(actor="eve")) == "nobody has done such a thing\n"
    monkeypatch.setattr(auditing, "LOOKED_AT", 1)
    text = shown(deeds.url, AuditFilter(actor="ada", action="cancel"))
    assert text.startswith("nobody has done such a thing so far\nlooked at ")


@pytest.mark.parametrize("options", [("--deep",), ("--queue", "web"), ("--rebase",), ("--fail-lost",), ("--yes",)])
def test_what_balances_and_what_shows_the_log_exclude_each_other(run: Run, ledger: Ledger, options: tuple[str]) -> None:
    result = run(audit, "--log", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "leave the other options out" in result.stderr


@pytest.mark.parametrize("option", ["--actor", "--action", "--job", "--since", "--until", "--after"])
def test_filters_of_the_log_need_it(run: Run, ledger: Ledger, option: str) -> None:
    result = run(audit, option, "1h")
    assert result.exit_code == 2
    assert "belong to --log; add it" in result.stderr


def test_what_is_no_cursor_is_refused(run: Run, ledger: Ledger) -> None:
    result = run(audit, "--log", "--after", "nothing")
    assert result.exit_code == 1
    assert result.stderr.startswith("penstock: 'nothing' is no cursor")
