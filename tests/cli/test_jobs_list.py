import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from penstock.app import PenstockApp
from penstock.cli.jobs import jobs
from penstock.job import Reason, State
from penstock.ledger import search
from penstock.ledger.rows import Delivery, JobRow, Outcome
from penstock.ledger.session import writing
from penstock.ledger.tables import jobs as table
from tests.cli.conftest import Ledger, Run, run_with


def listed(run: Run, *options: str) -> list[str]:
    """Ids that `jobs list` prints with these options."""
    result = run(jobs, "list", *options)
    assert result.exit_code == 0, result.stderr
    return [line.split("\t")[0] for line in result.stdout.splitlines()]


def test_a_pipe_gets_one_line_of_tab_separated_columns_per_job(run: Run, ledger: Ledger) -> None:
    ledger.fail("one", "line one\nline\ttwo", reason=Reason.TIMEOUT, queue="web")
    (line,) = run(jobs, "list").stdout.splitlines()
    id, task, queue, state, reason, attempts, started, runtime, error = line.split("\t")
    assert (id, task, queue, state, reason, attempts) == ("one", "tests.jobs.add", "web", "failed", "timeout", "1")
    assert datetime.fromisoformat(started).tzinfo
    assert float(runtime) >= 0
    assert error == "ValueError: line one line two"


def test_what_is_not_known_of_a_job_is_an_empty_column(run: Run, ledger: Ledger) -> None:
    delivery = Delivery(id="one", task="tests.jobs.add")
    ledger.end(delivery, Outcome(state=State.CANCELLED, reason=Reason.EXPIRED))
    assert run(jobs, "list").stdout == "one\ttests.jobs.add\t\tcancelled\texpired\t0\t\t\t\n"


def test_the_most_recently_changed_job_comes_first(run: Run, ledger: Ledger) -> None:
    first = ledger.start("first")
    ledger.succeed("second")
    ledger.end(first, Outcome(state=State.SUCCEEDED))
    assert listed(run) == ["first", "second"]


def test_each_filter_keeps_only_what_it_names(run: Run, ledger: Ledger) -> None:
    ledger.succeed("good", task="tests.jobs.echo", queue="web", schedule="nightly", tags=("a", "b"))
    ledger.fail("bad", "connection reset")
    ledger.start("busy")
    assert listed(run, "--state", "failed") == ["bad"]
    assert set(listed(run, "--state", "failed", "--state", "running")) == {"bad", "busy"}
    assert listed(run, "--task", "tests.jobs.echo") == ["good"]
    assert listed(run, "--queue", "web") == ["good"]
    assert listed(run, "--schedule", "nightly") == ["good"]
    assert listed(run, "--tag", "b") == ["good"]
    assert listed(run, "--tag", "c") == []
    assert listed(run, "--error", "connection") == ["bad"]
    assert listed(run, "--error", "ValueError") == ["bad"]
    assert listed(run, "--error", "0123456789ab") == ["bad"]
    assert listed(run, "--state", "failed", "--queue", "web") == []
    assert listed(run, "--id", "go") == ["good"]
    assert listed(run, "--until", "1h") == []


def test_jobs_are_listed_by_arguments_that_the_settings_name(app: PenstockApp, ledger: Ledger) -> None:
    ledger.succeed("one", kwargs={"order": 7, "who": "a=b"})
    ledger.succeed("two", kwargs={"order": 7})
    app.settings = replace(app.settings, searchable=("order", "who"))
    found = run_with(app, jobs, "list", "--argument", "order=7", "--argument", "who=a=b")
    assert [line.split("\t")[0] for line in found.stdout.splitlines()] == ["one"]
    refused = run_with(app, jobs, "list", "--argument", "left=1")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "'left': have it among the names in PENSTOCK_SEARCHABLE; allowed are order, who" in refused.stderr


@pytest.mark.parametrize("given", ["order", "=7", " =7"])
def test_an_argument_without_its_value_is_wrong_usage(run: Run, ledger: Ledger, given: str) -> None:
    result = run(jobs, "list", "--argument", given)
    assert result.exit_code == 2
    assert "is no NAME=VALUE" in result.stderr


def test_since_takes_an_age_or_a_time(run: Run, ledger: Ledger) -> None:
    ledger.succeed("old")
    with writing(ledger.url) as connection:
        connection.execute(update(table).values(updated_at=datetime.now(UTC) - timedelta(hours=2)))
    ledger.succeed("new")
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    assert listed(run, "--since", "30m") == ["new"]
    assert listed(run, "--since", "3h") == ["new", "old"]
    assert listed(run, "--since", "1d") == ["new", "old"]
    assert listed(run, "--since", an_hour_ago.isoformat()) == ["new"]


def test_a_time_without_a_zone_is_read_in_the_deployments_own(app: PenstockApp, ledger: Ledger) -> None:
    ledger.succeed("one")
    elsewhere = replace(app.settings, timezone="Asia/Tokyo")
    app.settings = elsewhere
    soon = datetime.now(ZoneInfo("Asia/Tokyo")) + timedelta(minutes=1)
    assert run_with(app, jobs, "list", "--since", f"{soon - timedelta(minutes=2):%Y-%m-%dT%H:%M:%S}").stdout != ""
    assert run_with(app, jobs, "list", "--since", f"{soon:%Y-%m-%dT%H:%M:%S}").stdout == ""


def test_the_limit_bounds_the_list(run: Run, ledger: Ledger) -> None:
    for number in range(4):
        ledger.succeed(f"job-{number}")
    assert listed(run, "--limit", "2") == ["job-3", "job-2"]


def test_json_has_every_column_and_the_runtime(run: Run, ledger: Ledger) -> None:
    ledger.succeed("one", result={"sum": 3}, enqueued_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    found = json.loads(run(jobs, "list", "--json").stdout)
    assert (found["after"], found["is_cut_short"]) == (None, False)
    (job,) = found["jobs"]
    assert set(job) == {field.name for field in fields(JobRow)} | {"runtime"}
    assert job["state"] == "succeeded"
    assert job["result"] == {"sum": 3}
    assert job["enqueued_at"] == "2026-03-01T12:00:00+00:00"
    assert isinstance(job["runtime"], float)


def test_json_without_jobs_has_an_empty_array(run: Run, ledger: Ledger) -> None:
    assert json.loads(run(jobs, "list", "--json").stdout)["jobs"] == []


def test_pages_follow_each_other_by_the_cursor_without_a_gap_or_a_repetition(run: Run, ledger: Ledger) -> None:
    for number in range(5):
        ledger.succeed(f"job-{number}")
    pages, cursor = [], ""
    while cursor is not None:
        after = ("--after", cursor) if cursor else ()
        page = json.loads(run(jobs, "list", "--json", "--limit", "2", *after).stdout)
        pages.append([job["id"] for job in page["jobs"]])
        cursor = page["after"]
    assert pages == [["job-4", "job-3"], ["job-2", "job-1"], ["job-0"]]


def test_in_a_pipe_the_cursor_is_no_line_among_the_jobs(run: Run, ledger: Ledger) -> None:
    """Whoever reads the lines takes each of them for a job."""
    for number in range(3):
        ledger.succeed(f"job-{number}")
    result = run(jobs, "list", "--limit", "2")
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == ["job-2", "job-1"]
    cursor = result.stderr.split()[-1]
    assert result.stderr == f"there are more: --after {cursor}\n"
    assert listed(run, "--limit", "2", "--after", cursor) == ["job-0"]


def test_a_list_that_looked_no_further_says_how_far_and_goes_on_from_there(
    run: Run, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "LOOKED_AT", 2)
    ledger.fail("old", "disk full")
    for number in range(3):
        ledger.fail(f"job-{number}", "refused")
    result = run(jobs, "list", "--error", "disk full")
    assert result.stdout == ""
    assert "look on with --after" in result.stderr
    assert listed(run, "--error", "disk full", "--after", result.stderr.split()[-1]) == ["old"]


def test_a_word_that_is_no_cursor_is_refused(run: Run, ledger: Ledger) -> None:
    result = run(jobs, "list", "--after", "nothing")
    assert result.exit_code == 1
    assert result.stderr.startswith("penstock: 'nothing' is no cursor")


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--since", "yesterday", "neither an age"),
        ("--since", "99999999999d", "neither an age"),
        ("--since", "99999999d", "neither an age"),
        ("--state", "done", "is not one of"),
        ("--limit", "0", "is not in the range"),
        ("--task", "", "is empty"),
        ("--error", "\udcff", "cannot be printed"),
    ],
)
def test_a_bad_option_is_refused_with_what_is_allowed(option: str, value: str, complaint: str) -> None:
    result = run_with(None, jobs, "list", option, value)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stdout == ""
