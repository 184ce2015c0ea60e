"""`failures` without a worker: entries are made as workers and keepers make them."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from penstock.actor import actor
from penstock.app import PenstockApp
from penstock.broker.envelope import read
from penstock.broker.keys import FIELD_SEPARATOR, Keys
from penstock.broker.scripts import Scripts, Settlement, Source
from penstock.cli import mending
from penstock.cli.failures import failures
from penstock.cli.jobs import jobs
from penstock.job import State
from penstock.ledger import letters, queries
from penstock.ledger.rows import DeadLetter, Delivery, LetterRow
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import Kind, Resolution, audit
from penstock.message import OF_RETRIES, REPLAY_OF
from penstock.operations.failures import errand
from penstock.operations.failures.errand import Terms
from penstock.operations.failures.letters import new_job_of
from tests.broker.messages import raw_message
from tests.cli.conftest import Ledger, Run
from tests.conftest import NewLedger

BURIED, QUARANTINED, UNKNOWN = "main@here/1a2b3c4d:7:0", "main@here/1a2b3c4d:8:0", "unknown:default:0:none.such"


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str]:
    """One database will do: the statements are tested on each."""
    with new_ledger("sqlite") as url:
        yield url


def bury(ledger: Ledger, id: str = BURIED, old: str = "old", **changes: Any) -> str:
    """A job whose process died again and again; the payload names it."""
    values: dict[str, Any] = {
        "id": id,
        "kind": Kind.BURIED,
        "queue": "default",
        "step": 0,
        "reason": "its process died 3 times",
        "payload": raw_message(old, 1, 2),
        "deliveries": 3,
        "at": datetime.now(UTC) - timedelta(minutes=5),
        "job": Delivery(id=old, task="tests.jobs.add", queue="default", args=[1, 2], kwargs={}),
    } | changes
    with writing(ledger.url) as connection:
        letters.bury(connection, [DeadLetter(**values)])
    return id


def quarantine(ledger: Ledger, id: str = QUARANTINED, payload: bytes = b"not json", **changes: Any) -> str:
    values = {"kind": Kind.QUARANTINED, "job": None, "reason": "not JSON", "payload": payload, "deliveries": 1}
    return bury(ledger, id, **values | changes)


def block(client: redis.Redis, *ids: str, task: str = "none.such") -> str:
    """Puts jobs aside as workers do, oldest first."""
    keys = Keys()
    key = keys.unknown_list("default", 0, task)
    client.lpush(key, *(raw_message(id, task=task, age=60) for id in ids))
    client.hset(keys.unknown, key, FIELD_SEPARATOR.join((task, "default", "0")))
    client.hset(keys.blocked, mapping=dict.fromkeys(ids, f"unknown task {task}"))
    return f"unknown:default:0:{task}"


def letter(ledger: Ledger, id: str) -> LetterRow:
    with reading(ledger.url) as connection:
        row = letters.find_letter(connection, id)
    assert row is not None
    return row


def actions(ledger: Ledger) -> list[tuple[str, Any]]:
    """(action, details) of the audit."""
    with reading(ledger.url) as connection:
        return [(row.action, row.details) for row in connection.execute(audit.select())]


def listed(run: Run, *arguments: str) -> list[dict[str, Any]]:
    """What `failures list --json` says."""
    result = run(failures, "list", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return list(json.loads(result.stdout)["entries"])


def ids(run: Run, *arguments: str) -> set[str]:
    return {entry["id"] for entry in listed(run, *arguments)}


def ready(client: redis.Redis, queue: str = "default") -> list[bytes]:
    """The ready list, first in line first."""
    return [raw.encode() for raw in client.lrange(queue, 0, -1)[::-1]]


@pytest.fixture
def three(ledger: Ledger, broker: redis.Redis) -> None:
    """One failure of each kind."""
    bury(ledger)
    quarantine(ledger)
    block(broker, "1", "2")


@pytest.mark.usefixtures("three")
def test_each_kind_is_listed_with_what_happened(run: Run) -> None:
    found = {entry["kind"]: entry for entry in listed(run)}
    assert {kind: entry["id"] for kind, entry in found.items()} == {
        "buried": BURIED,
        "quarantined": QUARANTINED,
        "unknown": UNKNOWN,
    }
    assert (found["buried"]["job_id"], found["buried"]["reason"]) == ("old", "its process died 3 times")
    assert (found["unknown"]["messages"], found["unknown"]["task"]) == (2, "none.such")


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--kind", "unknown"], {UNKNOWN}),
        (["--kind", "buried"], {BURIED}),
        (["--task", "none.such"], {UNKNOWN}),
        (["--task", "tests.jobs.add"], {BURIED}),
        (["--queue", "default"], {BURIED, QUARANTINED, UNKNOWN}),
        (["--queue", "other"], set()),
        (["--reason", "JSON"], {QUARANTINED}),
        (["--since", "2m"], {UNKNOWN}),
        (["--since", "10m"], {BURIED, QUARANTINED, UNKNOWN}),
        (["--limit", "1"], {UNKNOWN}),
    ],
)
def test_filters_choose(run: Run, filters: list[str], expected: set[str]) -> None:
    assert ids(run, *filters) == expected


def test_settled_entries_are_listed_on_request(run: Run, ledger: Ledger) -> None:
    run(failures, "discard", bury(ledger))
    assert ids(run) == set()
    (entry,) = listed(run, "--all")
    assert (entry["resolution"], entry["resolved_by"]) == ("discarded", actor())


def test_in_a_pipe_each_entry_is_a_line_of_ten_columns(run: Run, ledger: Ledger) -> None:
    quarantine(ledger, reason="two\nlines\tand a tab")
    columns = run(failures, "list", "--kind", "quarantined").stdout.rstrip("\n").split("\t")
    assert len(columns) == 10
    assert (columns[0], columns[1], columns[8], columns[9]) == (
        QUARANTINED,
        "quarantined",
        "open",
        "two lines and a tab",
    )


def test_a_dead_entry_that_no_keeper_took_to_the_ledger_is_listed_as_well(run: Run, broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as client:
        scripts = Scripts(client, Keys())
        scripts.join("w@h/1a2b3c4d")
        client.lpush("default", b"not json")
        (held,) = scripts.claim("w@h/1a2b3c4d", "w@h/1a2b3c4d", 0, [Source("default", 0)]).messages
        scripts.settle([Settlement("w@h/1a2b3c4d", "default", held.token, "quarantine", "not JSON")])
        assert ids(run) == {"w@h/1a2b3c4d:1:0"}
        assert client.exists(Keys().dead) == 0


@pytest.mark.parametrize("name", [BURIED, "1a2b3c4d:7:0", "old"])
def test_an_entry_is_found_by_its_id_by_its_end_and_by_its_job(run: Run, ledger: Ledger, name: str) -> None:
    bury(ledger)
    quarantine(ledger)
    result = run(failures, "show", name)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(BURIED)
    assert "tests.jobs.add(1, 2)" in result.stdout


def test_what_is_no_entry_is_refused(run: Run) -> None:
    result = run(failures, "show", "nothing")
    assert result.exit_code == 1
    assert result.stderr.startswith("penstock: there is no failure nothing")


def test_an_end_that_several_entries_have_is_refused_with_their_names(run: Run, ledger: Ledger) -> None:
    bury(ledger, "a@here/1a2b3c4d:7:0")
    bury(ledger, "b@here/1a2b3c4d:7:0", old="other")
    result = run(failures, "replay", "1a2b3c4d:7:0")
    assert result.exit_code == 1
    assert "a@here/1a2b3c4d:7:0" in result.stderr
    assert "b@here/1a2b3c4d:7:0" in result.stderr


def test_a_message_is_shown_in_full_as_json(run: Run, ledger: Ledger) -> None:
    raw = raw_message("old", 1, 2)
    shown = json.loads(run(failures, "show", bury(ledger, payload=raw), "--json").stdout)
    assert shown["entry"]["size"] == len(raw)
    (message,) = shown["messages"]
    assert base64.b64decode(message["base64"]) == raw
    assert message["body"] == [[1, 2], {}, {}]


def test_pickle_is_never_opened(run: Run, ledger: Ledger) -> None:
    body = base64.b64encode(b"cos\nsystem\n(S'false'\ntR.").decode()
    content = {"content-type": "application/x-python-serialize", "headers": {"id": "1", "task": "t"}}
    raw = json.dumps({"body": body, "properties": {"body_encoding": "base64"}, **content}).encode()
    text = run(failures, "show", quarantine(ledger, payload=raw)).stdout
    assert "is application/x-python-serialize and no JSON" in text
    assert body in text


def test_what_is_shown_cannot_operate_the_terminal(run: Run, ledger: Ledger) -> None:
    text = run(failures, "show", quarantine(ledger, payload=b"\x1b[2Jred", reason="\x1b[31mred")).stdout
    assert "\x1b" not in text


def test_a_replayed_job_is_a_new_one_that_names_the_old(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    result = run(failures, "replay", bury(ledger))
    assert result.exit_code == 0, result.stderr
    new = new_job_of(BURIED)
    assert result.stdout == f"1a2b3c4d:7:0 → {new}\n"
    (raw,) = ready(broker)
    headers = read(raw)["headers"]
    assert (headers["id"], headers["root_id"], headers[REPLAY_OF], headers["task"]) == (
        new,
        new,
        "old",
        "tests.jobs.add",
    )
    assert read(raw)["body"] == read(raw_message("old", 1, 2))["body"]
    assert read(raw)["properties"]["correlation_id"] == new
    found = letter(ledger, BURIED)
    assert (found.resolution, found.resolved_by, found.replay_job_id) == (Resolution.REPLAYED, actor(), new)
    assert actions(ledger) == [("replay", {"letter": BURIED, "new": new})]
    assert f"{new}\nqueued, queue default" in run(jobs, "show", new).stdout


def test_what_was_due_and_has_expired_is_wanted_now(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    run(failures, "replay", bury(ledger, payload=raw_message("old", 1, 2, eta=past)))
    headers = read(ready(broker)[0])["headers"]
    assert (headers["eta"], headers["expires"], headers["retries"]) == (None, None, 0)
    assert datetime.fromisoformat(headers["enqueued_at"]) > past


def test_a_replay_starts_with_nothing_behind_it(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    message = json.loads(raw_message("old", 1, 2))
    message["headers"] |= dict.fromkeys(OF_RETRIES, 1)
    run(failures, "replay", bury(ledger, payload=json.dumps(message).encode()))
    assert not read(ready(broker)[0])["headers"].keys() & set(OF_RETRIES)


def test_a_quarantined_message_goes_back_byte_by_byte_to_its_place(run: Run, ledger: Ledger, broker_url: str) -> None:
    payload = b'\x00\xff {"not": json'
    result = run(failures, "replay", quarantine(ledger, payload=payload, queue="mail", step=3))
    assert result.stdout == "1a2b3c4d:8:0 is back on mail, as it was\n"
    with redis.Redis.from_url(broker_url) as client:
        assert client.lrange(Keys().ready("mail", 3), 0, -1) == [payload]
    assert letter(ledger, QUARANTINED).resolution is Resolution.REPLAYED


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_whoever_comes_second_is_told_who_was_first(run: Run, ledger: Ledger, broker: redis.Redis, verb: str) -> None:
    run(failures, "replay", bury(ledger))
    result = run(failures, verb, BURIED)
    assert result.exit_code == 1
    assert f"was replayed as {new_job_of(BURIED)} by {actor()} already" in result.stderr
    assert len(ready(broker)) == 1
    assert len(actions(ledger)) == 1


def test_of_a_letter_whose_message_is_out_and_whose_mark_is_lost_the_replay_makes_no_second_message(
    run: Run, ledger: Ledger, broker: redis.Redis
) -> None:
    """As when the command is killed between the two."""
    run(failures, "replay", bury(ledger))
    with writing(ledger.url) as connection:
        connection.exec_driver_sql("UPDATE dead_letters SET resolution = NULL, resolved_at = NULL")
    assert run(failures, "replay", BURIED).exit_code == 0
    assert len(ready(broker)) == 1
    assert letter(ledger, BURIED).resolution is Resolution.REPLAYED


def test_a_letter_stays_open_when_redis_does_not_take_its_message(
    run: Run, ledger: Ledger, broker: redis.Redis
) -> None:
    bury(ledger)
    broker.hset("default", "a", "hash where the list should be")
    result = run(failures, "replay", BURIED)
    assert result.exit_code == 1
    assert letter(ledger, BURIED).resolution is None
    assert actions(ledger) == []


def test_two_who_replay_the_same_letter_at_once_make_one_message(
    app: PenstockApp, ledger: Ledger, broker: redis.Redis
) -> None:
    bury(ledger)
    failed: list[int] = []
    both = threading.Barrier(2)

    def act() -> None:
        both.wait()
        failed.append(mending.act(app, "replay", errand.named(app, [BURIED]), Terms("ann"), yes=True, as_json=True))

    threads = [threading.Thread(target=act) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(failed) == [0, 1]
    assert len(ready(broker)) == 1


def test_a_discarded_letter_keeps_its_payload_and_sends_nothing(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    result = run(failures, "discard", bury(ledger), quarantine(ledger))
    assert result.exit_code == 0, result.stderr
    assert {letter(ledger, id).resolution for id in (BURIED, QUARANTINED)} == {Resolution.DISCARDED}
    assert ready(broker) == []
    assert [action for action, _ in actions(ledger)] == ["discard", "discard"]
    assert "not json" in run(failures, "show", QUARANTINED).stdout


def test_unknown_tasks_are_replayed_to_the_end_of_their_queue(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    entry = block(broker, "1", "2")
    result = run(failures, "replay", entry)
    assert result.stdout == f"{entry} 2 messages back on default\n"
    assert [read(raw)["headers"]["id"] for raw in ready(broker)] == ["1", "2"]
    assert ids(run) == set()
    assert actions(ledger) == [("replay", {"unknown task": "none.such", "queue": "default", "messages": 2})]


def test_discarded_unknown_tasks_are_deleted_and_recorded(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    entry = block(broker, "1", "2")
    other = block(broker, "3", task="other.task")
    result = run(failures, "discard", entry)
    assert result.stdout == f"{entry} 2 messages deleted; 2 jobs recorded as cancelled\n"
    assert ids(run) == {other}
    assert broker.hkeys(Keys().blocked) == ["3"]
    with reading(ledger.url) as connection:
        rows = queries.find_jobs(connection, ["1", "2", "3"])
    assert {(row.id, row.state) for row in rows} == {("1", State.CANCELLED), ("2", State.CANCELLED)}
    assert [action for action, _ in actions(ledger)] == ["discard"]


@pytest.mark.usefixtures("three")
def test_filters_replay_all_that_they_choose(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    bury(ledger, "main@here/1a2b3c4d:9:0", old="other")
    results = json.loads(run(failures, "replay", "--kind", "buried", "--yes", "--json").stdout)
    assert [(result["entry"], result["done"]) for result in results] == [
        (BURIED, True),
        ("main@here/1a2b3c4d:9:0", True),
    ]
    assert len(ready(broker)) == 2
    assert ids(run) == {QUARANTINED, UNKNOWN}


@pytest.mark.usefixtures("three")
def test_filters_are_asked_about(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    result = run(failures, "discard", "--all")
    assert "1 buried, 1 quarantined, 2 messages of 1 unknown task will be discarded. Go on?" in result.stderr
    assert result.exit_code == 1
    assert len(ids(run)) == 3


def test_what_has_come_after_the_command_began_is_left(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    quarantine(ledger, at=datetime.now(UTC) + timedelta(minutes=1))
    result = run(failures, "replay", "--all", "--yes")
    assert (result.exit_code, result.stderr) == (0, "no open failures match\n")
    assert ready(broker) == []


@pytest.mark.parametrize("arguments", [[], ["x", "--all"], ["x", "--kind", "buried"], ["--all", "--rate", "fast"]])
def test_a_choice_that_is_none_is_wrong_usage(run: Run, arguments: list[str]) -> None:
    assert run(failures, "replay", *arguments).exit_code == 2


def test_of_several_names_one_that_is_wrong_stops_all(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    assert run(failures, "replay", bury(ledger), "nothing").exit_code == 1
    assert ready(broker) == []


def test_the_rate_bounds_the_speed(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    block(broker, *"123456")
    begun = time.monotonic()
    run(failures, "replay", "--kind", "unknown", "--rate", "10/s", "--yes")
    assert time.monotonic() - begun > 0.45
    assert len(ready(broker)) == 6
