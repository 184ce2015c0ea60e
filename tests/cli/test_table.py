"""How the table looks on terminals; what is in it is tested with `jobs list`."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len
from rich.console import Console

from penstock.cli.table import print_table
from penstock.job import Reason, State
from penstock.ledger import search
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.session import reading
from tests.cli.conftest import Ledger, value_error

A_UUID = "3f2a91c0-5b1e-4c59-9a53-0c7d1f0e8a11"


def shown(ledger: Ledger, width: int, limit: int = 50) -> list[str]:
    """The lines of the table on a terminal of this width."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, highlight=False)
    every = search.JobFilter()
    with reading(ledger.url) as connection:
        print_table(console, search.list_jobs(connection, every, limit), search.count_by_state(connection, every))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


LONG = "HTTPConnectionPool(host='10.0.0.1', port=80): Max retries exceeded with url: /a/very/long/path"


@pytest.fixture
def mixed(quick_ledger: Ledger) -> Ledger:
    """Jobs of every kind, with names that do not fit."""
    quick_ledger.succeed(A_UUID, task="tasks.reports.a_region_with_quite_a_long_name", queue="analytics")
    quick_ledger.fail("nightly-2026-11-22-emea", LONG, task="tasks.webhooks.deliver", queue="web")
    quick_ledger.start("running-日本語", task="tasks.webhooks.check_url")
    expired = Delivery(id="late", task="tasks.housekeeping.heartbeat", queue="default")
    quick_ledger.end(expired, Outcome(state=State.CANCELLED, reason=Reason.EXPIRED))
    due = datetime.now(UTC) + timedelta(minutes=10, seconds=5)
    quick_ledger.retry("again", value_error("busy"), due)
    return quick_ledger


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_no_line_of_the_table_is_wider_than_the_terminal(mixed: Ledger, width: int) -> None:
    lines = shown(mixed, width)
    assert max(cell_len(line) for line in lines) <= width
    assert "5 jobs: 1 scheduled, 1 running, 1 succeeded, 1 failed, 1 cancelled" in " ".join(" ".join(lines).split())


def test_at_80_columns_a_long_error_has_a_line_of_its_own(mixed: Ledger) -> None:
    lines = shown(mixed, 80)
    position = next(number for number, line in enumerate(lines) if line.startswith("nightly"))
    assert "failed" in lines[position]
    assert "ValueError: HTTPConnectionPool(host='10.0.0.1'" in lines[position + 1]


def test_at_140_columns_the_error_stands_in_its_jobs_line(quick_ledger: Ledger) -> None:
    quick_ledger.fail(A_UUID, LONG, task="tasks.webhooks.deliver")
    (_, line, _) = shown(quick_ledger, 140)
    assert "ValueError: HTTPConnectionPool(host='10.0.0.1'" in line


def test_the_table_says_why_a_job_was_cancelled_and_when_the_next_attempt_is_due(mixed: Ledger) -> None:
    text = "\n".join(shown(mixed, 80))
    assert "expired" in text
    assert "due in 10m: ValueError: busy" in text


def test_a_uuid_is_shortened_where_space_is_scarce_and_a_chosen_id_is_not(mixed: Ledger) -> None:
    assert any(line.startswith("3f2a91c0  ") or line.startswith("3f2a91c0 ") for line in shown(mixed, 140))
    assert any(line.startswith("nightly-2026-11-22-emea ") for line in shown(mixed, 140))
    assert any(line.startswith(A_UUID) for line in shown(mixed, 200))


def test_uuids_that_begin_alike_are_shown_in_full(quick_ledger: Ledger) -> None:
    twin = A_UUID[:-1] + "2"
    quick_ledger.succeed(A_UUID)
    quick_ledger.succeed(twin)
    text = "\n".join(shown(quick_ledger, 140))
    assert A_UUID in text
    assert twin in text


def test_the_table_counts_what_it_does_not_show(mixed: Ledger) -> None:
    lines = shown(mixed, 80, limit=2)
    assert lines[-2].startswith("5 jobs: ")
    assert lines[-1].startswith("there are more: --after ")


def test_an_empty_table_says_so(quick_ledger: Ledger) -> None:
    assert shown(quick_ledger, 80) == ["no jobs match"]


def test_an_error_cannot_operate_the_terminal(quick_ledger: Ledger) -> None:
    quick_ledger.fail("one", "\x1b[2J\x1b]0;owned\x07 gone")
    text = "\n".join(shown(quick_ledger, 140))
    assert "gone" in text
    assert "\x1b]" not in text
    assert "\x1b[2J" not in text
