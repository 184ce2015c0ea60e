import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta

from penstock.cli.jobs import jobs
from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.rows import JobRow, Outcome
from penstock.ledger.session import writing
from tests import jobs as tasks
from tests.cli.conftest import Ledger, Run, run_with, value_error
from tests.conftest import producer

A_UUID = "3f2a91c0-5b1e-4c59-9a53-0c7d1f0e8a11"


def shown(run: Run, id: str) -> str:
    """What `jobs show` prints."""
    result = run(jobs, "show", id)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_timeline_shows_every_attempt_with_its_worker_its_outcome_and_its_error(run: Run, ledger: Ledger) -> None:
    enqueued = datetime.now(UTC) - timedelta(seconds=5)
    values = {"worker": "web@host", "enqueued_at": enqueued}
    first = ledger.start("one", **values)
    ledger.end(first, Outcome(state=State.SCHEDULED, failure=value_error("busy")))
    ledger.succeed("one", worker="web@other", retries=1)
    text = shown(run, "one")
    assert text.index("enqueued") < text.index("attempt 1 starts on web@host")
    assert text.index("attempt 1 retried: ValueError: busy") < text.index("attempt 2 starts on web@other")
    assert "attempt 2 succeeded" in text
    assert f"{enqueued:%Y-%m-%d %H:%M:%S}" in text
    assert "waited 5" in text
    assert "in 2 attempts" in text


def test_parent_and_children_form_a_tree(run: Run, ledger: Ledger) -> None:
    ledger.succeed("parent", task="tests.jobs.start_another")
    ledger.succeed("one", parent_id="parent")
    ledger.fail("child", parent_id="one")
    family = shown(run, "one").split("family")[1].split("result")[0]
    assert "parent  tests.jobs.start_another  succeeded" in family
    assert "└── this job" in family
    assert "└── child  tests.jobs.add  failed" in family


def test_a_replay_names_what_it_replays_and_the_old_job_has_it_in_its_audit(run: Run, ledger: Ledger) -> None:
    ledger.succeed("new", replay_of="old")
    ledger.fail("old")
    with writing(ledger.url) as connection:
        queries.add_audit(connection, actor="anna@ops", action="retry", job_id="old", details={"new": "new"})
    assert "replay of old" in shown(run, "new")
    assert 'retry by anna@ops {"new": "new"}' in shown(run, "old")


def test_the_beginning_of_an_id_is_enough_when_it_is_the_only_one(run: Run, ledger: Ledger) -> None:
    ledger.succeed(A_UUID)
    ledger.succeed("other")
    assert shown(run, "3f2a").startswith(A_UUID)


def test_a_whole_id_wins_over_ids_that_begin_with_it(run: Run, ledger: Ledger) -> None:
    ledger.succeed("job-1")
    ledger.succeed("job-10")
    assert shown(run, "job-1").splitlines()[0] == "job-1"


def test_an_ambiguous_beginning_lists_the_candidates(run: Run, ledger: Ledger) -> None:
    ledger.succeed("job-10")
    ledger.succeed("job-11")
    result = run(jobs, "show", "job-1")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "job-10" in result.stderr
    assert "job-11" in result.stderr


def test_an_unknown_job_is_refused_with_where_to_look(run: Run, ledger: Ledger) -> None:
    result = run(jobs, "show", "nothing")
    assert result.exit_code == 1
    assert result.stderr.startswith("penstock: the ledger has no job nothing")
    assert "queue" in result.stderr


def test_wildcards_of_sql_are_letters_in_an_id(run: Run, ledger: Ledger) -> None:
    ledger.succeed("one")
    assert run(jobs, "show", "o%").exit_code == 1
    assert run(jobs, "show", "_n").exit_code == 1


def test_json_has_job_attempts_parent_children_and_audit(run: Run, ledger: Ledger) -> None:
    ledger.succeed("parent")
    ledger.succeed("one", parent_id="parent")
    ledger.succeed("child", parent_id="one")
    with writing(ledger.url) as connection:
        queries.add_audit(connection, actor="anna@ops", action="retry", job_id="one", details=None)
    life = json.loads(run(jobs, "show", "one", "--json").stdout)
    assert set(life) == {"job", "attempts", "parent", "children", "audit"}
    assert set(life["job"]) == {field.name for field in fields(JobRow)} | {"runtime"}
    assert [attempt["outcome"] for attempt in life["attempts"]] == ["succeeded"]
    assert life["parent"] == {"id": "parent", "task": "tests.jobs.add", "state": "succeeded"}
    assert [child["id"] for child in life["children"]] == ["child"]
    assert life["audit"][0]["actor"] == "anna@ops"


def test_a_job_that_no_worker_has_seen_is_shown_where_it_waits(run: Run, broker_url: str) -> None:
    waiting = tasks.add.enqueue(1, right=2).id
    assert shown(run, waiting).startswith(f"{waiting}\nqueued, queue default, enqueued ")
    found = json.loads(run(jobs, "show", waiting, "--json").stdout)
    assert found["job"] | {"since": None} == {"id": waiting, "state": "queued", "queue": "default", "since": None}
    assert found["attempts"] == []


def test_a_job_that_is_due_later_is_shown_with_its_time(run: Run, broker_url: str) -> None:
    later = tasks.add.options(delay=3630).enqueue(1, right=2).id
    assert "scheduled, queue default, due in 1h" in shown(run, later)


def test_what_was_done_to_a_waiting_job_is_shown(run: Run, broker_url: str) -> None:
    waiting = tasks.add.enqueue(1, right=2).id
    run(jobs, "cancel", waiting)
    assert "cancel by " in shown(run, waiting)


def test_a_job_that_nobody_knows_stays_unknown_when_redis_is_away(ledger: Ledger, environment: dict[str, str]) -> None:
    with producer({**environment, "REDIS_URL": "redis://127.0.0.1:1/0"}) as app:
        result = run_with(app, jobs, "show", A_UUID)
    assert (result.exit_code, result.stderr.startswith("penstock: the ledger has no job")) == (1, True)
