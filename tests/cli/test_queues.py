"""`queues` without a worker: what it prints, asks, refuses and notes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from click.testing import CliRunner

from penstock.actor import actor
from penstock.broker.keys import Keys
from penstock.cli.queues import queues
from penstock.errors import LedgerUnavailable
from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.session import reading
from penstock.ledger.tables import audit
from penstock.operations import queues as operations
from tests import jobs as tasks
from tests.broker.messages import raw_message
from tests.cli.conftest import Ledger, Run, run_with
from tests.conftest import NewLedger, producer


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str]:
    """One database will do: the rows are those of `jobs cancel` and of the dead letters, tested on each."""
    with new_ledger("sqlite") as url:
        yield url


def entries(ledger: Ledger) -> list[tuple[str, str, Any]]:
    """(who, action, details) of the audit."""
    with reading(ledger.url) as connection:
        return [(row.actor, row.action, row.details) for row in connection.execute(audit.select())]


def state(ledger: Ledger, id: str) -> State | None:
    with reading(ledger.url) as connection:
        row = queries.find_job(connection, id)
    return row.state if row else None


def listed(run: Run, *arguments: str) -> list[dict[str, Any]]:
    """What `queues list --json` says."""
    result = run(queues, "list", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return list(json.loads(result.stdout))


def test_all_queues_that_are_known_are_listed(run: Run, broker: redis.Redis) -> None:
    tasks.add.options(queue="mail").enqueue(1, right=2)
    tasks.add.options(delay=60).enqueue(1, right=2)
    tasks.add.enqueue(1, right=2)
    found = {status["queue"]: status for status in listed(run)}
    assert set(found) == {"default", "mail"}
    assert (found["mail"]["ready"], found["default"]["ready"]) == (1, 2)
    assert found["mail"]["oldest_seconds"] < 30
    assert found["mail"]["pause"] is None


def test_only_those_that_are_named_are_listed(run: Run) -> None:
    tasks.add.options(queue="mail").enqueue(1, right=2)
    assert [status["queue"] for status in listed(run, "mail")] == ["mail"]


@pytest.mark.parametrize(
    "verb", [("list",), ("watch", "--times", "1"), ("pause",), ("resume",), ("purge", "--yes"), ("peek",)]
)
def test_a_queue_that_nobody_knows_is_refused_with_a_suggestion(
    run: Run, ledger: Ledger, verb: tuple[str, ...], broker: redis.Redis
) -> None:
    result = run(queues, *verb, "defualt")
    assert result.exit_code == 1
    assert result.stderr == "penstock: there is no queue defualt; did you mean default?\n"
    assert entries(ledger) == []
    assert broker.keys("*") == []


def test_in_a_pipe_each_queue_is_a_line_of_nine_columns(run: Run) -> None:
    tasks.add.enqueue(1, right=2)
    run(queues, "pause", "default", "--note", "a  b")
    columns = run(queues, "list").stdout.rstrip("\n").split("\t")
    assert len(columns) == 9
    assert columns[:2] == ["default", "1"]
    assert columns[7:] == [actor(), "a b"]


def test_messages_that_stock_workers_hold_are_counted_on_a_terminal(ledger: Ledger) -> None:
    from rich.console import Console

    from penstock.broker.queues import QueueStatus
    from penstock.cli.queue_table import print_table
    from penstock.operations.queues import Look

    console = Console(width=80, force_terminal=True, no_color=True)
    with console.capture() as captured:
        print_table(console, Look([QueueStatus("default", 1, 75.0, 0, 0, 0, None)], 3))
    assert "stock workers hold 3 messages besides" in captured.get()
    assert "1m 15s" in captured.get()


def test_watching_shows_the_change_of_depth(run: Run, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    import penstock.cli.queue_watch as watching

    tasks.add.enqueue(1, right=2)
    monkeypatch.setattr(watching.time, "sleep", lambda _seconds: tasks.add.enqueue(3, right=4))
    result = run(queues, "watch", "--json", "--times", "3")
    looks = [json.loads(line)["queues"][0] for line in result.stdout.splitlines()]
    assert [(look["ready"], look["change"]) for look in looks] == [(1, 0), (2, 1), (3, 1)]


def test_watching_in_a_pipe_prints_lines_with_time_and_change(run: Run) -> None:
    result = run(queues, "watch", "--times", "2", "--interval", "0.1")
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [(len(line), line[1], line[-1]) for line in lines] == [(11, "default", "0")] * 2
    assert lines[0][0] < lines[1][0]


def test_a_pause_is_kept_told_and_noted(run: Run, ledger: Ledger) -> None:
    result = run(queues, "pause", "default", "--note", "the API is down")
    assert result.stdout == "default is paused; `queues resume default` opens it\n"
    assert listed(run)[0]["pause"] | {"at": None} == {"by": actor(), "note": "the API is down", "at": None}
    assert entries(ledger) == [(actor(), "pause", {"queue": "default", "note": "the API is down"})]


def test_a_second_pause_says_who_was_first(run: Run) -> None:
    run(queues, "pause", "default")
    assert f"it was already, now by {actor()}" in run(queues, "pause", "default").stdout
    assert json.loads(run(queues, "pause", "default", "--json").stdout)["was_paused"] is True


def test_a_pause_holds_when_the_ledger_is_away_and_says_that_it_is_not_noted(
    environment: dict[str, str], run: Run
) -> None:
    with producer({**environment, "DATABASE_URL": "postgresql://ada@127.0.0.1:1/ledger"}) as app:
        result = run_with(app, queues, "pause", "default")
    assert result.exit_code == 1
    assert "default is paused, but the audit could not be written" in result.stderr
    assert listed(run)[0]["pause"]


def test_resuming_opens_the_queue_and_is_noted(run: Run, ledger: Ledger) -> None:
    tasks.add.enqueue(1, right=2)
    run(queues, "pause", "default")
    assert run(queues, "resume", "default").stdout == "default is open again; 1 wait\n"
    assert listed(run)[0]["pause"] is None
    assert [action for _, action, _ in entries(ledger)] == ["pause", "resume"]


def test_resuming_an_open_queue_does_nothing(run: Run, ledger: Ledger) -> None:
    assert run(queues, "resume", "default").stdout == "default was open; nothing to do\n"
    assert entries(ledger) == []


def test_a_purge_deletes_what_waits_records_the_jobs_and_notes_the_counts(run: Run, ledger: Ledger) -> None:
    ids = [tasks.add.enqueue(n, right=2).id for n in range(3)]
    result = run(queues, "purge", "default", "--yes")
    assert result.exit_code == 0, result.stderr
    assert "3 messages of default deleted: 3 ready, 0 parked, 0 blocked; 3 jobs recorded as cancelled" in result.stdout
    assert listed(run)[0]["ready"] == 0
    assert {state(ledger, id) for id in ids} == {State.CANCELLED}
    counts = {"queue": "default", "ready": 3, "parked": 0, "blocked": 0, "cancelled": 3}
    assert entries(ledger) == [(actor(), "purge", counts)]
    assert json.loads(run(queues, "purge", "default", "--yes", "--json").stdout)["ready"] == 0


def test_a_purge_asks_and_takes_no_for_an_answer(app: Any, ledger: Ledger, run: Run) -> None:
    from celery.bin.base import CLIContext

    tasks.add.enqueue(1, right=2)
    context = CLIContext(app=app, no_color=False, workdir=None)
    result = CliRunner().invoke(queues, ["purge", "default"], obj=context, input="n\n")
    assert "1 message of default will be deleted (1 ready, 0 parked, 0 blocked)" in result.stderr
    assert result.exit_code == 1
    assert listed(run)[0]["ready"] == 1
    assert entries(ledger) == []


def test_a_purge_without_a_ledger_deletes_nothing(environment: dict[str, str], run: Run) -> None:
    tasks.add.enqueue(1, right=2)
    with producer({**environment, "DATABASE_URL": "postgresql://ada@127.0.0.1:1/ledger"}) as app:
        assert run_with(app, queues, "purge", "default", "--yes").exit_code == 1
    assert listed(run)[0]["ready"] == 1


def test_what_is_purged_and_cannot_be_recorded_is_counted(
    run: Run, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise LedgerUnavailable("gone")

    tasks.add.enqueue(1, right=2)
    broker.lpush("default", "not json")
    monkeypatch.setattr(operations, "cancel_messages", refuse)
    result = run(queues, "purge", "default", "--yes")
    assert result.exit_code == 1
    assert "2 messages of default deleted" in result.stdout
    assert broker.hget(Keys().tally, "purged:default") == "1"


def test_what_an_app_without_a_ledger_purges_is_counted(broker_url: str, broker: redis.Redis, run: Run) -> None:
    tasks.add.enqueue(1, right=2)
    result = run_with(Celery("other", broker=broker_url, set_as_current=False), queues, "purge", "default", "--yes")
    assert result.exit_code == 0, result.stderr
    assert broker.hget(Keys().tally, "purged:default") == "1"


def test_a_message_that_is_no_job_is_purged_as_well(run: Run, broker: redis.Redis) -> None:
    broker.lpush("default", "not json")
    assert "1 message of default deleted" in run(queues, "purge", "default", "--yes").stdout


def test_peeking_shows_calls_in_their_order(run: Run, broker: redis.Redis) -> None:
    first = tasks.add.enqueue(1, right=2)
    broker.lpush("default", "not json")
    lines = [line.split("\t") for line in run(queues, "peek", "default").stdout.splitlines()]
    assert lines[0][:3] == ["0", first.id, "tests.jobs.add"]
    assert lines[0][4] == "tests.jobs.add(1, right=2)"
    assert lines[1] == ["0", "", "", "", "not json"]
    assert len(run(queues, "peek", "default", "--limit", "1").stdout.splitlines()) == 1


def test_peeking_in_json_has_headers_body_and_bytes(run: Run) -> None:
    import base64

    job = tasks.add.enqueue(1, right=2)
    (found,) = json.loads(run(queues, "peek", "default", "--json").stdout)
    assert (found["job"], found["step"], found["problem"]) == (job.id, 0, None)
    assert found["body"] == [[1], {"right": 2}, {}]
    assert found["headers"]["task"] == "tests.jobs.add"
    assert base64.b64decode(found["base64"]).startswith(b"{")


def test_any_celery_app_on_redis_is_served(broker_url: str, broker: redis.Redis) -> None:
    other = Celery("other", broker=broker_url, set_as_current=False)
    broker.lpush("celery", raw_message("1").decode())
    assert run_with(other, queues, "list").stdout.split("\t")[:2] == ["celery", "1"]
    assert "1 message of celery deleted" in run_with(other, queues, "purge", "celery", "--yes").stdout


def test_another_broker_is_refused_in_a_sentence() -> None:
    result = run_with(Celery("other", broker="amqp://ada:secret@host//", set_as_current=False), queues, "list")
    assert result.exit_code == 1
    assert "this command works on Redis" in result.stderr
    assert "secret" not in result.stderr
