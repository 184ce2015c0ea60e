"""`audit` without a worker: that it balances, what breaks the balance, and how the books are closed."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from click.testing import Result
from rich.console import Console
from rich.text import Text
from sqlalchemy import insert, update

from penstock.actor import actor
from penstock.broker import census
from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts, Settlement, Source
from penstock.cli.audit import audit
from penstock.cli.jobs import jobs
from penstock.job import Reason, State
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import audit as audit_table
from penstock.ledger.tables import jobs as table
from penstock.ledger.tables import outbox
from penstock.operations.books import auditing, examination
from tests import jobs as tasks
from tests.cli.conftest import Ledger, Run, run_with
from tests.conftest import NewLedger, producer
from tests.ledger.making import aside, end, start, write

WORKER = "ant@host/00000001"
NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(minutes=10)
STOCK = b'{"body": "W10=", "headers": {"id": "theirs", "task": "a"}, "properties": {"body_encoding": "base64"}}'


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str]:
    """One database will do: the statements are tested on each, in tests/ledger/test_balance.py."""
    with new_ledger("sqlite") as url:
        yield url


@pytest.fixture
def scripts(broker_url: str) -> Iterator[Scripts]:
    """The scripts on the test's broker."""
    with redis.Redis.from_url(broker_url) as client:
        yield Scripts(client, Keys())


def enqueued(count: int = 1, **options: Any) -> list[str]:
    """Jobs that wait."""
    return [tasks.add.options(**options).enqueue(1, right=2).id for _ in range(count)]


def claim(scripts: Scripts, count: int = 1, queue: str = "default", base: int = 0) -> list[str]:
    """Their tokens, held by a live worker."""
    scripts.join(WORKER)
    return [message.token for message in scripts.claim(WORKER, WORKER, base, [Source(queue, 0)], count).messages]


def settle(scripts: Scripts, token: str, verb: str = "ack", *arguments: str, queue: str = "default") -> None:
    scripts.settle([Settlement(WORKER, queue, token, verb, *arguments)])


def of(id: str, **values: Any) -> Delivery:
    """What a message of ours says."""
    return Delivery(
        **{
            "id": id,
            "task": "tests.jobs.add",
            "queue": "default",
            "enqueued_at": NOW,
            "args": [1],
            "kwargs": {"right": 2},
            **values,
        }
    )


def age(ledger: Ledger, *ids: str) -> None:
    """Makes rows be as they were ten minutes ago."""
    with writing(ledger.url) as connection:
        connection.execute(update(table).where(table.c.id.in_(ids)).values(updated_at=LONG_AGO))


def audited(run: Run, code: int, *arguments: str) -> dict[str, Any]:
    """What `audit --json` says, with this exit code."""
    result = run(audit, "--json", *arguments)
    assert result.exit_code == code, result.output
    return dict(json.loads(result.stdout))


def account(report: dict[str, Any], queue: str = "default") -> dict[str, Any]:
    return next(each for each in report["queues"] if each["queue"] == queue)


def kinds(report: dict[str, Any]) -> list[tuple[str, str | None]]:
    """(kind, job) of each problem."""
    return [(problem["kind"], problem["job"]) for problem in report["problems"]]


def lose(ledger: Ledger, scripts: Scripts) -> str:
    """A job that was accepted, is to be retried, and has no message any more."""
    (id,) = enqueued()
    (token,) = claim(scripts)
    write(ledger.url, end(of(id, token="a:1"), Outcome(state=State.SCHEDULED, due=NOW)))
    settle(scripts, token)
    scripts.unindex([("default", id)])
    age(ledger, id)
    return id


# -- balanced ---------------------------------------------------------------------------------------------------


def test_before_the_first_job_the_books_are_balanced(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    report = audited(run, 0)
    assert report["sentence"] == "balanced: nothing has been accepted so far"
    assert broker.keys("*") == []


def test_every_job_is_in_one_place(run: Run, ledger: Ledger, scripts: Scripts) -> None:
    ids = enqueued(6)
    enqueued(delay=60)
    claim(scripts, 4)
    for token, id, state in (("1:0", ids[0], State.SUCCEEDED), ("2:0", ids[1], State.FAILED)):
        write(ledger.url, end(of(id), Outcome(state=state, reason=Reason.ERROR if state is State.FAILED else None)))
        settle(scripts, token)
    settle(scripts, "3:0", "block", "none.such", ids[2])
    report = audited(run, 0)
    assert report["sentence"] == "balanced: all 7 jobs are accounted for"
    expected = {"accepted": 7, "ready": 3, "parked": 0, "blocked": 1, "in_flight": 1, "succeeded": 1, "failed": 1}
    assert account(report).items() >= expected.items()
    assert report["problems"] == []


def test_jobs_of_the_outbox_are_accepted_before_redis_knows_them(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    row = {"key": "1", "job_id": "1", "task": "t", "queue": "default", "step": 0, "payload": b"{}", "created_at": NOW}
    with writing(ledger.url) as connection:
        connection.execute(insert(outbox).values(row))
    found = account(audited(run, 0))
    assert (found["published"], found["unpublished"], found["accepted"], found["difference"]) == (0, 1, 1, 0)


def test_a_retry_waits_as_the_same_job(run: Run, ledger: Ledger, scripts: Scripts, broker: redis.Redis) -> None:
    (id,) = enqueued()
    (token,) = claim(scripts)
    raw = broker.hget(scripts.keys.inflight(WORKER, "default"), token)
    write(ledger.url, end(of(id, token="a:1"), Outcome(state=State.SCHEDULED, due=NOW)))
    scripts.publish("p", 1, "default", 0, [(id, f"{raw} ")], is_new=False)
    settle(scripts, token)
    assert account(audited(run, 0)).items() >= {"accepted": 1, "ready": 1, "difference": 0}.items()


def test_what_is_claimed_and_recorded_and_not_settled_yet_is_no_fault(
    run: Run, ledger: Ledger, scripts: Scripts
) -> None:
    ids = enqueued(2)
    claim(scripts, 2)
    write(ledger.url, end(of(ids[0])))
    report = audited(run, 0)
    assert account(report)["found"]["late"] == 1
    assert report["problems"] == []


def test_jobs_of_stock_producers_are_counted_beside(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    enqueued(2)
    broker.lpush("default", STOCK, "not json")
    write(ledger.url, end(of("stock", enqueued_at=None)))
    report = audited(run, 0)
    assert account(report)["found"]["foreign"] == 2
    assert account(report)["stock"]["succeeded"] == 1
    assert account(report).items() >= {"accepted": 2, "ready": 4, "accounted": 2}.items()


def test_a_waiting_job_that_was_cancelled_counts_once(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    """A worker that hears the request records it at once, and knows only the id; the message stays until claimed."""
    (id,) = enqueued()
    cancelled = Outcome(state=State.CANCELLED, reason=Reason.REVOKED)
    write(ledger.url, end(Delivery(id=id, task="(unknown)"), cancelled))
    assert account(audited(run, 0)).items() >= {"ready": 1, "cancelled": 0, "difference": 0}.items()


def test_a_message_of_a_job_that_has_ended_is_told_and_taken_off(run: Run, ledger: Ledger) -> None:
    ids = enqueued(2)
    write(ledger.url, end(of(ids[0]), Outcome(state=State.CANCELLED, reason=Reason.REVOKED)))
    report = audited(run, 0)
    assert kinds(report) == [("late", ids[0])]
    assert account(report)["accounted"] == 2


def test_a_purge_ends_its_jobs(run: Run, ledger: Ledger) -> None:
    from penstock.cli.queues import queues

    enqueued(3)
    run(queues, "purge", "default", "--yes")
    assert account(audited(run, 0)).items() >= {"accepted": 3, "cancelled": 3, "purged": 0}.items()


def test_celerys_own_purge_is_counted(run: Run, ledger: Ledger, app: Any, broker: redis.Redis) -> None:
    enqueued(3)
    broker.lpush("default", STOCK)
    assert app.control.purge() == 4
    assert account(audited(run, 0)).items() >= {"accepted": 3, "purged": 3, "ready": 0}.items()


def test_what_a_stock_worker_took_is_counted_when_it_is_swept(run: Run, ledger: Ledger, scripts: Scripts) -> None:
    enqueued(2)
    assert scripts.client.rpop("default", 2)
    scripts.sweep("default", int(datetime.now(UTC).timestamp() * 1000) + 1000)
    assert account(audited(run, 0)).items() >= {"accepted": 2, "elsewhere": 2}.items()


def test_a_job_that_goes_on_in_another_queue_does_not_break_the_balance(
    run: Run, ledger: Ledger, scripts: Scripts, broker: redis.Redis
) -> None:
    (id,) = enqueued()
    (token,) = claim(scripts)
    raw = broker.hget(scripts.keys.inflight(WORKER, "default"), token)
    scripts.publish("p", 1, "web", 0, [(id, f"{raw} ")], is_new=False)
    settle(scripts, token)
    report = audited(run, 0)
    assert [each["difference"] for each in report["queues"]] == [-1, 1]
    assert report["sentence"].endswith("1 job went on in another queue than it was accepted on")


def test_dead_letters_count_before_the_ledger_has_them(run: Run, ledger: Ledger, scripts: Scripts) -> None:
    ids = enqueued(2)
    claim(scripts, 2)
    settle(scripts, "1:0", "bury", "too bad", ids[0])
    settle(scripts, "2:0", "quarantine", "not JSON")
    scripts.tally("accepted", "default", -1)  # What is quarantined was not of ours.
    report = audited(run, 0, "--deep")
    assert account(report).items() >= {"accepted": 1, "buried": 1, "quarantined": 1, "difference": 0}.items()
    assert sorted(kinds(report)) == sorted(("unrecorded", id) for id in ids)
    assert "failures list" in report["problems"][0]["remedy"]


# -- not balanced -----------------------------------------------------------------------------------------------


def test_a_job_without_a_message_is_lost_and_said_to_be(run: Run, ledger: Ledger, scripts: Scripts) -> None:
    id = lose(ledger, scripts)
    report = audited(run, 1)
    assert report["sentence"] == "not balanced: 1 job lost"
    assert kinds(report) == [("lost", id)]
    assert f"jobs retry {id}" in report["problems"][0]["remedy"]
    assert account(report)["difference"] == -1


def test_a_deep_look_finds_what_the_sums_do_not_show(
    run: Run, ledger: Ledger, scripts: Scripts, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = lose(ledger, scripts)
    broker.lpush("default", STOCK)
    assert audited(run, 0)["sentence"].startswith("balanced")
    report = audited(run, 1, "--deep")
    assert kinds(report) == [("lost", id)]
    assert account(report)["found"] | {"lost": 1, "foreign": 1} == account(report)["found"]


def test_a_waiting_job_whose_message_has_gone_is_named(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ids = enqueued(2)
    broker.rpop("default")
    report = audited(run, 1)
    assert kinds(report) == [("taken", ids[0])]
    assert report["sentence"] == "not balanced: 1 job lost"


def test_a_job_that_redis_has_lost_and_the_outbox_has_is_no_fault(run: Run, ledger: Ledger, scripts: Scripts) -> None:
    id = lose(ledger, scripts)
    row = {"key": f"{id}~1", "job_id": id, "task": "t", "queue": "default", "step": 0, "payload": b"{}"}
    with writing(ledger.url) as connection:
        connection.execute(insert(outbox).values({**row, "created_at": NOW, "published_at": NOW}))
    report = audited(run, 0)
    assert kinds(report) == [("relayed", id)]
    with writing(ledger.url) as connection:
        connection.execute(update(outbox).values(published_at=None))
    assert account(audited(run, 0))["to_be_published_again"] == 1


def test_a_job_that_runs_without_a_claim_at_a_live_worker_is_not_lost(
    run: Run, ledger: Ledger, scripts: Scripts
) -> None:
    """Its task acknowledges early."""
    (id,) = enqueued()
    (token,) = claim(scripts)
    settle(scripts, token)
    scripts.unindex([("default", id)])
    write(ledger.url, start(of(id, token="00000001:1:0")))
    assert account(audited(run, 0))["found"]["early"] == 1
    scripts.client.zrem(scripts.keys.leases, WORKER)
    assert kinds(audited(run, 1)) == [("lost", id)]


def test_a_job_that_was_replaced_by_a_chain_is_not_lost(run: Run, ledger: Ledger, scripts: Scripts) -> None:
    """It has no message before the last of the chain is sent."""
    (id,) = enqueued()
    (token,) = claim(scripts)
    settle(scripts, token)
    scripts.unindex([("default", id)])
    write(ledger.url, end(of(id, token="a:1"), Outcome(state=State.QUEUED), replaced=True))
    report = audited(run, 0)
    assert kinds(report) == [("awaiting", id)]
    assert account(report)["found"]["awaiting"] == 1


def test_a_running_job_whose_worker_has_gone_is_told_while_its_message_is_there(
    run: Run, ledger: Ledger, scripts: Scripts
) -> None:
    (id,) = enqueued()
    write(ledger.url, start(of(id, token="00000001:1:0", worker="ant@host")))
    report = audited(run, 0, "--deep")
    assert kinds(report) == [("workerless", id)]
    scripts.join(WORKER)
    assert kinds(audited(run, 0, "--deep")) == []


def test_an_id_that_was_sent_twice_is_one_job_with_two_messages(run: Run, ledger: Ledger, scripts: Scripts) -> None:
    (id,) = enqueued()
    raw = scripts.client.lindex("default", 0)
    scripts.publish("p", 1, "default", 0, [(id, raw + b" ")])
    report = audited(run, 0)
    assert kinds(report) == [("twice", id)]
    assert account(report).items() >= {"accepted": 1, "ready": 2, "accounted": 1}.items()


def test_a_lost_job_of_a_stock_producer_is_told_as_well(run: Run, ledger: Ledger) -> None:
    write(ledger.url, aside(of("stock", enqueued_at=None)))
    assert kinds(audited(run, 1, "--deep")) == [("lost", "stock")]


def test_jobs_that_are_missing_without_a_trace_are_counted(run: Run, ledger: Ledger, scripts: Scripts) -> None:
    (id,) = enqueued()
    claim(scripts)
    settle(scripts, "1:0")
    scripts.unindex([("default", id)])
    assert audited(run, 1)["sentence"].startswith("not balanced: 1 job missing that nobody has recorded")


def test_no_more_problems_are_named_than_asked_for(run: Run, ledger: Ledger) -> None:
    write(ledger.url, *(aside(of(str(number), enqueued_at=None)) for number in range(3)))
    report = audited(run, 1, "--deep", "--limit", "2")
    assert (len(report["problems"]), report["counts"]) == (2, {"lost": 3})


# -- in motion --------------------------------------------------------------------------------------------------


def test_what_ends_between_the_two_looks_is_never_missing(
    run: Run, ledger: Ledger, scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    (id,) = enqueued()
    (token,) = claim(scripts)
    scripts.unindex([("default", id)])
    looked: list[str] = []

    def ending(real: Any, side: str) -> Any:
        """Looks at one side; before the second one is looked at, the job ends."""

        def look(*arguments: Any) -> Any:
            if len(looked) == 1:
                write(ledger.url, end(of(id)))
                settle(scripts, token)
            looked.append(side)
            return real(*arguments)

        return look

    monkeypatch.setattr(auditing, "LOOKS", 1)
    monkeypatch.setattr(auditing, "ROUNDS", 1)
    monkeypatch.setattr(auditing.census, "take", ending(auditing.census.take, "redis"))
    monkeypatch.setattr(auditing.balance, "read", ending(auditing.balance.read, "ledger"))
    report = audited(run, 0)
    assert report["sentence"].endswith("1 of 1 in flight have ended and are about to be settled")


def test_a_job_that_goes_on_while_the_audit_looks_is_not_lost(
    run: Run, ledger: Ledger, scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = lose(ledger, scripts)
    real = examination.balance.open_jobs

    def going_on(connection: Any) -> Any:
        found = list(real(connection))
        write(ledger.url, end(of(id, token="a:2", retries=1)))
        return iter(found)

    monkeypatch.setattr(examination.balance, "open_jobs", going_on)
    assert kinds(audited(run, 0, "--deep")) == []


def test_a_message_that_goes_back_while_the_audit_looks_is_found(
    run: Run, ledger: Ledger, scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    (id,) = enqueued()
    (token,) = claim(scripts)
    scripts.unindex([("default", id)])
    write(ledger.url, aside(of(id)))
    real = census._in_flight

    def going_back(*arguments: Any) -> Any:
        settle(scripts, token, "return")
        yield from real(*arguments)

    monkeypatch.setattr(auditing, "ROUNDS", 1)
    monkeypatch.setattr(census, "_in_flight", going_back)
    assert kinds(audited(run, 0, "--deep")) == []


# -- cannot tell ------------------------------------------------------------------------------------------------


def test_a_server_that_is_away_is_exit_code_2(environment: dict[str, str], ledger: Ledger) -> None:
    for name, url in (("REDIS_URL", "redis://127.0.0.1:1/0"), ("DATABASE_URL", "postgresql://a@127.0.0.1:1/ledger")):
        with producer({**environment, name: url}) as app:
            result = run_with(app, audit)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("penstock: cannot tell: ")


def test_a_redis_that_has_forgotten_its_counts_is_told_from_one_that_has_lost_jobs(
    run: Run, ledger: Ledger, broker: redis.Redis
) -> None:
    (id,) = enqueued()
    write(ledger.url, end(of(id)))
    age(ledger, id)
    broker.flushall()
    report = audited(run, 2)
    assert report["verdict"] == "cannot tell"
    assert "Redis has no counts" in report["sentence"]
    enqueued()
    assert "the ledger has jobs from before" in audited(run, 2)["sentence"]


def test_more_messages_than_can_be_looked_at_need_a_deep_look(
    run: Run, ledger: Ledger, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.operations.books.auditing.AFFORDABLE", 1)
    enqueued()
    broker.lpush("default", STOCK)
    assert audited(run, 2)["sentence"] == (
        "cannot tell: 1 message more than jobs of ours; `audit --deep` finds whose they are"
    )
    assert audited(run, 0, "--deep")["problems"] == []


def test_missing_jobs_are_certain_without_a_deep_look(
    run: Run, ledger: Ledger, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.operations.books.auditing.AFFORDABLE", 0)
    enqueued(2)
    broker.rpop("default")
    assert audited(run, 1)["sentence"] == "not balanced: 1 job missing; `audit --deep` finds them"


# -- closing the books ------------------------------------------------------------------------------------------


def entries(ledger: Ledger) -> list[tuple[str, str, Any]]:
    """(who, action, details) of the audit."""
    with reading(ledger.url) as connection:
        return [(row.actor, row.action, row.details) for row in connection.execute(audit_table.select())]


def test_a_new_beginning_balances_what_redis_has_forgotten(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    (id,) = enqueued()
    write(ledger.url, end(of(id)), end(of("2", queue="web")))
    broker.flushall()
    assert audited(run, 0, "--rebase", "--yes")["sentence"] == "balanced: all 2 jobs are accounted for"
    assert entries(ledger) == [(actor(), "rebase", {"default": 1, "web": 1})]
    enqueued()
    assert account(audited(run, 0))["accepted"] == 2


def test_after_a_new_beginning_a_lost_job_is_one_again(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    (id,) = enqueued()
    write(ledger.url, end(of(id)))
    age(ledger, id)
    broker.flushall()
    audited(run, 0, "--rebase", "--yes")
    enqueued()
    broker.rpop("default")
    assert audited(run, 1)["sentence"] == "not balanced: 1 job lost"


def test_a_redis_that_forgets_the_new_beginning_has_forgotten_its_counts(
    run: Run, ledger: Ledger, broker: redis.Redis
) -> None:
    (id,) = enqueued()
    write(ledger.url, end(of(id)))
    broker.flushall()
    audited(run, 0, "--rebase", "--yes")
    broker.flushall()
    assert audited(run, 2)["verdict"] == "cannot tell"


def test_a_new_beginning_does_not_forgive_a_lost_job(run: Run, ledger: Ledger, scripts: Scripts) -> None:
    id = lose(ledger, scripts)
    scripts.client.delete(scripts.keys.tally)
    report = audited(run, 1, "--rebase", "--yes")
    assert kinds(report) == [("lost", id)]
    assert account(report)["difference"] == -1
    assert account(audited(run, 0, "--fail-lost", "--yes"))["failed"] == 1


def test_a_new_beginning_waits_until_nothing_moves(
    run: Run, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, broker: redis.Redis
) -> None:
    (id,) = enqueued()
    write(ledger.url, end(of(id)))
    broker.flushall()
    number = iter(range(100))
    monkeypatch.setattr(
        "penstock.operations.books.auditing.time.sleep", lambda _: write(ledger.url, end(of(f"moving {next(number)}")))
    )
    result = run(audit, "--rebase", "--yes")
    assert result.exit_code == 1
    assert "pause the queues" in result.stderr
    assert broker.keys("*") == []


def test_lost_jobs_are_failed_and_can_be_retried(run: Run, ledger: Ledger, scripts: Scripts) -> None:
    id = lose(ledger, scripts)
    report = audited(run, 0, "--fail-lost", "--yes")
    assert account(report).items() >= {"accepted": 1, "failed": 1, "difference": 0}.items()
    assert entries(ledger) == [(actor(), "fail lost", {"count": 1, "jobs": [id]})]
    with reading(ledger.url) as connection:
        row = connection.execute(table.select()).one()
    assert (row.state, row.reason, row.retries) == ("failed", "crashed", 1)
    assert "its message is lost" in row.error_message
    assert run(jobs, "retry", id).exit_code == 0


def test_a_job_that_is_lost_for_less_than_a_minute_is_not_given_up(run: Run, ledger: Ledger, scripts: Scripts) -> None:
    id = lose(ledger, scripts)
    with writing(ledger.url) as connection:
        connection.execute(update(table).values(updated_at=datetime.now(UTC)))
    assert kinds(audited(run, 1, "--fail-lost", "--yes")) == [("lost", id)]


@pytest.mark.parametrize("option", ["--fail-lost", "--rebase"])
def test_the_books_are_closed_after_asking(run: Run, ledger: Ledger, scripts: Scripts, option: str) -> None:
    lose(ledger, scripts)
    result = run(audit, option)
    assert "Go on?" in result.stderr
    assert result.exit_code == 1
    assert entries(ledger) == []


def test_the_two_ways_to_close_the_books_exclude_each_other(run: Run) -> None:
    assert run(audit, "--rebase", "--fail-lost").exit_code == 2


# -- how it looks -----------------------------------------------------------------------------------------------


def test_in_a_pipe_each_queue_is_a_line_of_thirteen_columns(run: Run, ledger: Ledger, scripts: Scripts) -> None:
    lose(ledger, scripts)
    enqueued(2)
    result = run(audit)
    assert result.stdout == "default\t3\t0\t2\t0\t0\t0\t0\t0\t0\t0\t0\t-1\n"
    assert result.stderr.splitlines()[-1] == "penstock: not balanced: 1 job lost"
    assert result.stderr.startswith("lost ")


def test_what_mends_itself_is_named_when_asked_for(run: Run, ledger: Ledger) -> None:
    ids = enqueued(2)
    write(ledger.url, end(of(ids[0]), Outcome(state=State.CANCELLED, reason=Reason.REVOKED)))
    assert run(audit).stderr == "penstock: balanced: all 2 jobs are accounted for\n"
    assert run(audit, "--deep").stderr.startswith(f"late {ids[0]}: ")


def test_one_queue_is_shown_when_asked_for(run: Run, ledger: Ledger) -> None:
    enqueued()
    enqueued(queue="mail")
    assert [each["queue"] for each in audited(run, 0, "--queue", "mail")["queues"]] == ["mail"]


def test_a_queue_that_nobody_knows_is_refused(run: Run, ledger: Ledger) -> None:
    result: Result = run(audit, "--queue", "defualt")
    assert result.exit_code == 1
    assert "did you mean default?" in result.stderr


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_gets_a_sheet_that_fits(run: Run, app: Any, ledger: Ledger, scripts: Scripts, width: int) -> None:
    from penstock.cli.balance_sheet import print_report
    from penstock.operations.books.auditing import audit as report_of

    for queue in ("mail", "a-queue-with-a-long-name", "web", "reports", "images", "video", "others"):
        enqueued(queue=queue)
    id = lose(ledger, scripts)
    console = Console(file=io.StringIO(), width=width, force_terminal=True, no_color=True)
    print_report(console, report_of(app, (), deep=False, limit=20))
    text = Text.from_ansi(console.file.getvalue()).plain  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    assert "not balanced: 1 job lost" in text
    assert f"jobs retry {id}" in " ".join(text.split())
    assert "a-queue-with-a-…" in text
