"""How one job's life looks; that `jobs show` finds it is tested there."""

import io
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console
from sqlalchemy import update

from penstock.cli.portrait import SHOWN_CHILDREN, print_life
from penstock.job import Reason, State
from penstock.ledger.records import Encoded
from penstock.ledger.rows import Delivery, Failure, Outcome
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import jobs as table
from penstock.operations.jobs.life import find_life
from tests.cli.conftest import Ledger, value_error
from tests.ledger.making import running, write


def shown(ledger: Ledger, id: str, zone: str = "UTC") -> str:
    """What is printed about a job."""
    console = Console(file=io.StringIO(), width=100)
    with reading(ledger.url) as connection:
        print_life(console, find_life(connection, id, SHOWN_CHILDREN + 1), ZoneInfo(zone))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_head_names_the_call_the_state_and_the_queue(quick_ledger: Ledger) -> None:
    quick_ledger.fail(
        "one",
        reason=Reason.TIMEOUT,
        args=[7],
        kwargs={"name": "Ada"},
        queue="web",
        priority=3,
        schedule="nightly",
        tags=("a", "b"),
    )
    lines = shown(quick_ledger, "one").splitlines()
    assert lines[0] == "one"
    assert lines[1] == "tests.jobs.add(7, name='Ada')"
    assert lines[2] == "failed (timeout), queue web, priority 3, schedule nightly, tags a b"


def test_times_are_those_of_the_given_zone(quick_ledger: Ledger) -> None:
    quick_ledger.succeed("one", enqueued_at=datetime(2026, 7, 1, 12, 30, tzinfo=UTC))
    text = shown(quick_ledger, "one", "Europe/Berlin")
    assert "timeline (Europe/Berlin)" in text
    assert "2026-07-01 14:30:00.000" in text


def test_an_attempt_that_another_one_took_over_from_is_called_lost(quick_ledger: Ledger) -> None:
    quick_ledger.start("one")
    quick_ledger.start("one")
    text = shown(quick_ledger, "one")
    assert text.count("lost: its worker died or fell silent") == 1
    assert "running for" in text


def test_a_job_that_was_cancelled_before_it_started_has_its_end_on_the_timeline(quick_ledger: Ledger) -> None:
    delivery = Delivery(id="one", task="tests.jobs.add", enqueued_at=datetime.now(UTC))
    quick_ledger.end(delivery, Outcome(state=State.CANCELLED, reason=Reason.EXPIRED))
    timeline = shown(quick_ledger, "one").split("timeline")[1]
    assert "cancelled (expired)" in timeline


def test_a_retry_shows_when_it_is_due(quick_ledger: Ledger) -> None:
    due = datetime.now(UTC) + timedelta(minutes=10, seconds=5)
    quick_ledger.retry("one", value_error("busy"), due)
    assert "due in 10m" in shown(quick_ledger, "one").split("timeline")[1]


def test_a_job_that_snoozes_shows_until_when(quick_ledger: Ledger) -> None:
    due = datetime.now(UTC) + timedelta(minutes=10, seconds=5)
    quick_ledger.end(quick_ledger.start("one"), Outcome(state=State.SCHEDULED, reason=Reason.SNOOZED, due=due))
    timeline = shown(quick_ledger, "one").split("timeline")[1]
    assert "attempt 1 snoozed, after" in timeline
    assert "it is due in 10m" in timeline


def test_a_job_that_its_body_has_cancelled_shows_why(quick_ledger: Ledger) -> None:
    why = Failure(type="penstock.retrying.Cancel", message="the order is gone", exception=Encoded("{}"))
    quick_ledger.end(quick_ledger.start("one"), Outcome(state=State.CANCELLED, reason=Reason.BODY, failure=why))
    text = shown(quick_ledger, "one")
    assert "cancelled (by its body), queue" in text
    assert "attempt 1 cancelled (by its body), after" in text
    assert "the order is gone" in text


def test_a_parent_that_the_ledger_does_not_know_is_named(quick_ledger: Ledger) -> None:
    quick_ledger.succeed("one", parent_id="gone")
    assert "gone (not in the ledger)" in shown(quick_ledger, "one")


def test_of_many_children_the_first_are_shown(quick_ledger: Ledger) -> None:
    quick_ledger.succeed("one")
    for number in range(25):
        quick_ledger.start(f"child-{number:02}", parent_id="one")
    text = shown(quick_ledger, "one")
    assert "child-19" in text
    assert "child-20" not in text
    assert "and more; --json has all" in text


def test_the_result_is_shown_as_indented_json(quick_ledger: Ledger) -> None:
    quick_ledger.succeed("one", result={"größe": [1, 2]})
    assert '  {\n    "größe": [\n      1,\n      2\n    ]\n  }' in shown(quick_ledger, "one")


@pytest.mark.parametrize("result", ["x" * 100_000, list(range(1000))])
def test_a_large_result_is_cut_and_says_so(quick_ledger: Ledger, result: object) -> None:
    quick_ledger.succeed("one", result=result)
    text = shown(quick_ledger, "one")
    assert len(text) < 6000
    assert "… cut: " in text
    assert "--json has all" in text


def test_an_error_has_its_fingerprint_and_the_end_of_its_traceback(quick_ledger: Ledger) -> None:
    traceback = "\n".join(["Traceback:", *(f"  frame {number}" for number in range(100)), "ValueError: gone"])
    failure = value_error("gone", traceback)
    quick_ledger.end(quick_ledger.start("one"), Outcome(state=State.FAILED, reason=Reason.ERROR, failure=failure))
    text = shown(quick_ledger, "one")
    assert "ValueError: gone" in text.split("error")[1]
    assert "jobs list --error 0123456789ab" in text
    assert "frame 99" in text
    assert "frame 10\n" not in text
    assert "… cut: " in text


def test_what_a_running_job_says_of_itself_is_shown(quick_ledger: Ledger) -> None:
    progress = Encoded('{"state": "PROGRESS", "meta": {"done": 1}}')
    write(quick_ledger.url, running(quick_ledger.start("one"), progress=progress))
    assert '"done": 1' in shown(quick_ledger, "one").split("progress")[1]


def test_long_arguments_are_cut(quick_ledger: Ledger) -> None:
    quick_ledger.succeed("one", args=["x" * 10_000])
    assert len(shown(quick_ledger, "one")) < 2000


def test_arguments_cannot_operate_the_terminal(quick_ledger: Ledger) -> None:
    quick_ledger.fail("one", "\x1b[2J", kwargs={"\x1b[31m": 1}, worker="\x1b]0;owned\x07")
    assert "\x1b" not in shown(quick_ledger, "one")


def test_a_row_of_a_job_without_a_request_can_be_shown(quick_ledger: Ledger) -> None:
    """Celery reports some outcomes without the message, so that hardly anything is known."""
    quick_ledger.end(Delivery(id="one", task="(unknown)"), Outcome(state=State.FAILED, reason=Reason.CRASHED))
    with writing(quick_ledger.url) as connection:
        connection.execute(update(table).values(args=None, kwargs=None))
    assert "(unknown)()" in shown(quick_ledger, "one")
