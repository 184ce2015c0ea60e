import json
import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert

from penstock.cli.jobs import jobs
from penstock.job import Reason, State
from penstock.ledger import fires, letters, queries
from penstock.ledger.rows import DeadLetter, Delivery, JobRow, Outcome
from penstock.ledger.session import writing
from penstock.ledger.tables import Kind, counters, outbox
from tests import jobs as tasks
from tests.cli.conftest import Ledger, Run, run_with, value_error
from tests.conftest import producer

KEYS = {
    "job",
    "attempts",
    "timeline",
    "phases",
    "parent",
    "children",
    "replays",
    "chord",
    "outbox",
    "failures",
    "audit",
    "reports",
    "fire",
}
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
    assert re.search(r"\+5\.?\d*s +attempt 1 retried, after \d+ms: ValueError: busy\n", text)
    assert text.index("attempt 1 retried") < text.index("attempt 2 starts on web@other")
    assert "attempt 2 succeeded, after" in text
    assert f"{enqueued:%Y-%m-%d %H:%M:%S}" in text
    assert "waited 5" in text
    assert "in 2 attempts" in text


def test_a_job_of_a_schedule_tells_for_when_it_was_planned(run: Run, ledger: Ledger) -> None:
    ledger.succeed("one", schedule="nightly")
    planned = datetime(2026, 11, 28, 2, tzinfo=UTC)
    row = fires.FireRow(
        schedule="nightly",
        planned_at=planned,
        origin=fires.Origin.PLANNED,
        state=fires.FireState.FIRED,
        job_id="one",
        decided_at=planned,
    )
    with writing(ledger.url) as connection:
        fires.insert(connection, [row])
    assert "schedule nightly, planned for 2026-11-28 02:00:00 UTC" in shown(run, "one")
    assert json.loads(run(jobs, "show", "one", "--json").stdout)["fire"]["planned_at"] == planned.isoformat()


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
    assert set(life) == KEYS
    assert set(life["job"]) == {field.name for field in fields(JobRow)} | {"runtime"}
    assert [attempt["outcome"] for attempt in life["attempts"]] == ["succeeded"]
    assert life["parent"] == {"id": "parent", "task": "tests.jobs.add", "state": "succeeded"}
    assert [child["id"] for child in life["children"]] == ["child"]
    assert life["audit"][0]["actor"] == "anna@ops"


def test_json_has_the_timeline_and_the_phases_in_seconds(run: Run, ledger: Ledger) -> None:
    enqueued = datetime.now(UTC) - timedelta(seconds=5)
    ledger.end(ledger.start("one", enqueued_at=enqueued), Outcome(state=State.SCHEDULED, failure=value_error("busy")))
    ledger.succeed("one", retries=1, enqueued_at=enqueued)
    life = json.loads(run(jobs, "show", "one", "--json").stdout)
    assert [(event["what"], event["attempt"]) for event in life["timeline"]] == [
        ("enqueued", None),
        ("started", 1),
        ("attempt ended", 1),
        ("started", 2),
        ("attempt ended", 2),
    ]
    assert life["timeline"][0]["offset"] == 0.0
    assert 5 <= life["timeline"][1]["offset"] < 60
    assert life["timeline"][2]["error"] == "ValueError: busy"
    assert [(phase["phase"], phase["attempt"], phase["outcome"]) for phase in life["phases"]] == [
        ("waits", None, None),
        ("runs", 1, "retried"),
        ("waits", None, None),
        ("runs", 2, "succeeded"),
    ]
    assert 5 <= life["phases"][0]["seconds"] < 60


def test_the_replays_of_a_job_are_told_with_what_became_of_them(run: Run, ledger: Ledger) -> None:
    ledger.fail("old")
    ledger.succeed("new", replay_of="old")
    with writing(ledger.url) as connection:
        queries.add_audit(connection, actor="anna@ops", action="retry", job_id="old", details={"new": "new"})
    assert "replayed as\n  new  tests.jobs.add  succeeded\n" in shown(run, "old")
    assert [each["id"] for each in json.loads(run(jobs, "show", "old", "--json").stdout)["replays"]] == ["new"]


def test_a_part_of_a_chord_tells_how_many_parts_have_ended(run: Run, ledger: Ledger) -> None:
    ledger.succeed("one", group_id="g")
    with writing(ledger.url) as connection:
        connection.execute(insert(counters).values(id="g", total=3, remaining=1, created_at=datetime.now(UTC)))
    assert "chord\n  2 of its 3 parts have ended\n" in shown(run, "one")
    assert json.loads(run(jobs, "show", "one", "--json").stdout)["chord"]["remaining"] == 1


def test_a_job_that_was_buried_says_so_and_names_the_failure(run: Run, ledger: Ledger) -> None:
    ledger.fail("one", reason=Reason.CRASHED)
    letter = DeadLetter(
        id="ant@host/00000001:1:0",
        kind=Kind.BURIED,
        queue="default",
        step=0,
        reason="its process died 3 times",
        payload=b"{}",
        deliveries=3,
        at=datetime.now(UTC),
        job=Delivery(id="one", task="tests.jobs.add"),
    )
    with writing(ledger.url) as connection:
        letters.bury(connection, [letter])
    assert "buried: its process died 3 times; failure 00000001:1:0" in shown(run, "one")


def put_out(ledger: Ledger, id: str, *, published: bool = False) -> None:
    """A row of the outbox."""
    now = datetime.now(UTC)
    at = now - timedelta(minutes=1)
    row = {"key": id, "job_id": id, "task": "t", "queue": "web", "step": 0, "payload": b"{}", "created_at": now}
    with writing(ledger.url) as connection:
        connection.execute(insert(outbox).values({**row, "published_at": at if published else None}))


def test_a_job_that_is_in_the_outbox_alone_is_shown_there(run: Run, ledger: Ledger) -> None:
    put_out(ledger, A_UUID)
    text = shown(run, A_UUID)
    assert text.startswith(f"{A_UUID}\nqueued, queue web, enqueued ")
    assert "its message is in the outbox since " in text
    found = json.loads(run(jobs, "show", A_UUID, "--json").stdout)
    assert set(found) == KEYS
    assert (found["job"]["place"], found["outbox"]["key"]) == ("outbox", A_UUID)


def test_a_job_of_the_outbox_that_redis_does_not_know_is_said_to_be_on_its_way(run: Run, ledger: Ledger) -> None:
    put_out(ledger, A_UUID, published=True)
    assert "Redis has lost its message; the outbox has it" in shown(run, A_UUID)


def test_a_retry_that_is_kept_in_the_outbox_is_told(run: Run, ledger: Ledger) -> None:
    ledger.retry("one", value_error("busy"), datetime.now(UTC) + timedelta(minutes=5))
    put_out(ledger, "one")
    assert "its message is in the outbox since now, and not in Redis yet" in shown(run, "one")


def test_the_outbox_is_told_of_also_while_redis_is_away(ledger: Ledger, environment: dict[str, str]) -> None:
    put_out(ledger, A_UUID)
    with producer({**environment, "REDIS_URL": "redis://127.0.0.1:1/0"}) as app:
        assert "in the outbox" in run_with(app, jobs, "show", A_UUID).stdout


def test_a_job_that_no_worker_has_seen_is_shown_where_it_waits(run: Run, broker_url: str) -> None:
    waiting = tasks.add.enqueue(1, right=2).id
    assert shown(run, waiting).startswith(f"{waiting}\nqueued, queue default, enqueued ")
    found = json.loads(run(jobs, "show", waiting, "--json").stdout)
    expected = {"id": waiting, "state": "queued", "queue": "default", "place": "redis"}
    assert found["job"].items() >= expected.items()
    assert set(found) == KEYS
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
