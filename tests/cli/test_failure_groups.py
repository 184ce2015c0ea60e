"""`failures list` and `failures show` of failed jobs, by error."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from penstock.cli.failures import failures
from penstock.cli.groups import sparkline
from penstock.job import Reason
from penstock.ledger.queries import forget_job
from penstock.ledger.session import writing
from penstock.ledger.tables import failure_hours
from tests.cli.conftest import Ledger, Run, value_error

PRINT = "0123456789ab"


def listed(run: Run, *arguments: str) -> dict[str, Any]:
    """What `failures list --json` says."""
    result = run(failures, "list", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def make_older(ledger: Ledger, **age: float) -> None:
    """As if all that has failed so far had failed so long ago."""
    with writing(ledger.url) as connection:
        before = timedelta(**age)
        for row in connection.execute(failure_hours.select()).all():
            older = {name: getattr(row, name) - before for name in ("hour", "first_at", "last_at")}
            older["hour"] = older["hour"].replace(minute=0, second=0, microsecond=0)
            connection.execute(update(failure_hours).where(failure_hours.c.hour == row.hour).values(**older))


def test_failed_jobs_are_one_line_for_each_error_and_task(run: Run, ledger: Ledger) -> None:
    for number in range(3):
        ledger.fail(f"a-{number}", f"no customer {number}")
    ledger.fail("b", "no customer 9", task="tests.jobs.echo")
    ledger.succeed("good")
    groups = listed(run)["groups"]
    assert [(group["fingerprint"], group["task"], group["count"]) for group in groups] == [
        (PRINT, "tests.jobs.add", 3),
        (PRINT, "tests.jobs.echo", 1),
    ]
    assert (groups[0]["job_id"], groups[0]["error_message"]) == ("a-2", "no customer 2")
    assert groups[0]["first_at"] < groups[0]["last_at"]
    assert sum(groups[0]["trend"]) == sum(groups[0]["hours"].values()) == 3
    # One bar for each hour of the last day, and one for the hour that has begun.
    assert len(groups[0]["trend"]) == 25
    assert groups[0]["trend"][:23] == [0] * 23


def test_an_attempt_that_will_be_tried_again_is_no_failed_job(run: Run, ledger: Ledger) -> None:
    ledger.retry("again", value_error("busy"), datetime.now(UTC))
    assert listed(run)["groups"] == []


def test_only_the_last_day_is_counted_unless_told_otherwise(run: Run, ledger: Ledger) -> None:
    ledger.fail("old")
    make_older(ledger, hours=30)
    assert listed(run)["groups"] == []
    (group,) = listed(run, "--since", "2d")["groups"]
    assert (group["count"], group["job_id"]) == (1, "old")
    ledger.fail("new")
    (group,) = listed(run)["groups"]
    assert group["count"] == 1
    assert datetime.now(UTC) - datetime.fromisoformat(group["first_at"]) > timedelta(hours=29)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--kind", "failed"], 1),
        (["--kind", "buried"], 0),
        (["--task", "tests.jobs.add"], 1),
        (["--task", "other"], 0),
        (["--queue", "default"], 0),
        (["--limit", "1"], 1),
    ],
)
def test_filters_choose_groups(run: Run, ledger: Ledger, options: list[str], count: int) -> None:
    ledger.fail("one")
    assert len(listed(run, *options)["groups"]) == count


def test_in_a_pipe_a_group_has_the_columns_of_an_entry(run: Run, ledger: Ledger) -> None:
    ledger.fail("one", "line one\nline\ttwo")
    (line,) = run(failures, "list").stdout.splitlines()
    columns = line.split("\t")
    assert columns[:7] == [PRINT, "failed", "one", "tests.jobs.add", "", "1", ""]
    assert datetime.fromisoformat(columns[7]).tzinfo
    assert columns[8:] == ["", "ValueError: line one line two"]


def test_an_error_is_shown_with_an_example_its_latest_jobs_and_what_can_be_done(run: Run, ledger: Ledger) -> None:
    for number in range(12):
        ledger.fail(f"job-{number:02}", f"no customer {number}")
    text = run(failures, "show", PRINT).stdout
    assert text.startswith(f"{PRINT}\nValueError: no customer 11\n")
    assert "12 jobs" in text
    assert "Traceback (most recent call last)" in text
    assert re.findall(r"^  (job-\d\d)", text, re.MULTILINE) == [f"job-{number:02}" for number in range(11, 1, -1)]
    for verb in ("replay", "discard"):
        assert f"  {verb}: celery -A workers failures {verb} {PRINT}\n" in text


def test_an_error_of_buried_jobs_names_the_commands_for_their_messages(run: Run, ledger: Ledger) -> None:
    ledger.fail("one", reason=Reason.CRASHED)
    commands = json.loads(run(failures, "show", PRINT, "--json").stdout)["commands"]
    assert commands == {
        verb: f"celery -A workers failures {verb} --kind buried --task tests.jobs.add" for verb in ("replay", "discard")
    }


def test_an_error_that_has_been_quiet_for_long_is_shown_from_its_beginning(run: Run, ledger: Ledger) -> None:
    ledger.fail("one")
    make_older(ledger, days=10)
    shown = json.loads(run(failures, "show", PRINT, "--json").stdout)
    assert [group["count"] for group in shown["groups"]] == [1]
    assert sum(shown["groups"][0]["trend"]) == 1
    assert run(failures, "show", PRINT, "--since", "2d").exit_code == 1


def test_a_group_outlives_its_jobs(run: Run, ledger: Ledger) -> None:
    ledger.fail("one")
    with writing(ledger.url) as connection:
        forget_job(connection, "one")
    (group,) = listed(run)["groups"]
    assert (group["count"], group["error_type"]) == (1, None)
    assert "retention has deleted its last job" in run(failures, "show", PRINT).stdout


def test_a_fingerprint_that_nobody_has_is_refused(run: Run, ledger: Ledger) -> None:
    result = run(failures, "show", "ffffffffffff")
    assert result.exit_code == 1
    assert result.stderr.startswith("penstock: there is no failure ffffffffffff")


def test_what_an_error_says_cannot_operate_the_terminal(run: Run, ledger: Ledger) -> None:
    ledger.fail("one", "\x1b[2Jred")
    assert "\x1b" not in run(failures, "show", PRINT).stdout


@pytest.mark.parametrize(
    ("counts", "bars"),
    [([], ""), ([0, 0], "··"), ([1], "█"), ([0, 1, 8], "·▁█"), ([4, 8, 2], "▄█▂"), ([1, 1_000_000], "▁█")],
)
def test_a_sparkline_is_as_high_as_its_greatest_number(counts: list[int], bars: str) -> None:
    assert sparkline(counts) == bars
