"""`failures breakers|open|close`: which tasks are not started, and starting and stopping them by hand."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from rich.text import Text

from penstock.actor import actor
from penstock.app import PenstockApp
from penstock.breaker import Breaker
from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts, Settlement, Source
from penstock.checks import check_breakers
from penstock.cli.failures import failures
from penstock.errors import DeclarationError
from penstock.ledger.session import reading
from penstock.ledger.tables import audit
from penstock.operations.jobs.why import why
from tests import jobs as tasks
from tests.cli.conftest import Ledger, Run
from tests.conftest import NewLedger

TASK = "tests.jobs.add"
FRAGILE = "shop.pay"
WORKER = "main@here/1a2b3c4d"


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str]:
    """One database will do: only the audit is written."""
    with new_ledger("sqlite") as url:
        yield url


@pytest.fixture
def app(app: PenstockApp) -> PenstockApp:
    """With a task that declares a breaker."""
    app.task(name=FRAGILE, breaker=Breaker(failures=3, window=60, pause=300))(_pay)
    return app


@pytest.fixture
def scripts(broker_url: str) -> Iterator[Scripts]:
    """Those of workers and keepers, on the test's broker."""
    with redis.Redis.from_url(broker_url) as client:
        yield Scripts(client, Keys())


def _pay() -> None:
    """Nothing."""


def listed(run: Run) -> dict[str, Any]:
    result = run(failures, "breakers", "--json")
    assert result.exit_code == 0, result.stderr
    return {each["task"]: each for each in json.loads(result.stdout)}


def put_aside(scripts: Scripts, id: str, task: str = TASK) -> None:
    """A worker claims the only job of the queue, and finds the breaker of its task open."""
    scripts.join(WORKER)
    (message,) = scripts.claim(WORKER, WORKER, 0, [Source("default", 0)]).messages
    scripts.settle([Settlement(WORKER, "default", message.token, "admit", task, id)])


def noted(ledger: Ledger) -> list[tuple[str, str, Any]]:
    with reading(ledger.url) as connection:
        return [(row.actor, row.action, row.details) for row in connection.execute(audit.select())]


@pytest.mark.usefixtures("broker")
def test_a_declared_breaker_is_listed_with_its_rule(run: Run) -> None:
    found = listed(run)[FRAGILE]
    assert (found["state"], found["rule"], found["aside"]) == ("closed", "3 in 1m, pause 5m", 0)


def test_failures_that_are_counted_are_listed(run: Run, scripts: Scripts) -> None:
    scripts.trip(FRAGILE, Breaker(failures=3).rule, (2, 0), "OSError: down", ())
    assert listed(run)[FRAGILE]["failures"] == 2


def test_a_breaker_that_has_opened_comes_first_and_says_by_what(run: Run, scripts: Scripts) -> None:
    scripts.trip("zoo.feed", Breaker(failures=3).rule, (3, 0), "OSError: down", ())
    (first, *_) = run(failures, "breakers").stdout.splitlines()
    task, state, since, failed, aside, next_at, text = first.split("\t")
    assert (task, state, failed, aside, text) == ("zoo.feed", "open", "0", "0", "OSError: down")
    assert since < next_at


@pytest.mark.parametrize("width", [80, 120, 240])
def test_a_terminal_has_each_task_and_why_in_whole_words(
    run: Run, scripts: Scripts, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    task = "shop.charge_the_customer_of_an_order"
    fault = "ConnectionError: https://payments.example.org/v2/charges does not answer: timed out after 30 seconds"
    scripts.trip(task, Breaker(failures=3, pause=300).rule, (3, 0), fault, ())
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(width))
    lines = Text.from_ansi(run(failures, "breakers").stdout).plain.splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[0][-20:] for line in lines if " open " in line] == [task[-20:]]
    assert set(fault.split()) <= set(" ".join(lines).split())
    assert ("why" in lines[0].split()) is (width == 240)


@pytest.mark.usefixtures("broker")
def test_a_person_opens_and_closes_the_breaker_of_any_task(run: Run, ledger: Ledger) -> None:
    assert run(failures, "open", TASK, "--note", "maintenance").exit_code == 0
    opened = listed(run)[TASK]
    assert (opened["state"], opened["by"], opened["note"]) == ("open", actor(), "maintenance")
    assert opened["next_at"] is None
    assert run(failures, "close", TASK).exit_code == 0
    assert TASK not in listed(run)
    assert noted(ledger) == [
        (actor(), "open breaker", {"task": TASK, "note": "maintenance"}),
        (actor(), "close breaker", {"task": TASK, "was": "open"}),
    ]


@pytest.mark.usefixtures("broker")
def test_a_task_that_nobody_knows_has_no_breaker_to_open(run: Run, ledger: Ledger) -> None:
    result = run(failures, "open", "tests.jobs.ad")
    assert result.exit_code == 1, result.stderr
    assert "did you mean tests.jobs.add?" in result.stderr
    assert noted(ledger) == []


@pytest.mark.usefixtures("broker")
def test_closing_a_closed_breaker_says_so_and_notes_nothing(run: Run, ledger: Ledger) -> None:
    result = run(failures, "close", TASK)
    assert (result.exit_code, result.stdout) == (0, f"the breaker of {TASK} was closed already\n")
    assert noted(ledger) == []


def test_a_breaker_of_a_task_that_is_gone_can_be_closed(run: Run, scripts: Scripts) -> None:
    scripts.switch("gone.by", "open", "ann", "")
    assert run(failures, "close", "gone.by").exit_code == 0
    assert "gone.by" not in listed(run)


def test_a_job_that_is_aside_says_why_and_what_it_waits_for(run: Run, app: PenstockApp, scripts: Scripts) -> None:
    run(failures, "open", TASK, "--note", "maintenance")
    id = tasks.add.enqueue(1, right=2).id
    put_aside(scripts, id)
    assert listed(run)[TASK]["aside"] == 1
    sentence = why(app, id).sentence
    assert sentence.startswith("the breaker of tests.jobs.add was opened")
    assert sentence.endswith(f"by {actor()} (maintenance); it starts when it is closed")
    result = run(failures, "close", TASK)
    assert "with 1 job that waited aside" in result.stdout
    assert why(app, id).sentence == "the breaker of tests.jobs.add has closed, and it is on its way back to its queue"


def test_a_job_of_a_task_that_kept_failing_says_what_with_and_when_it_is_tried(
    app: PenstockApp, scripts: Scripts
) -> None:
    scripts.trip(TASK, Breaker(failures=3, pause=300).rule, (3, 0), "OSError: down", ())
    id = tasks.add.enqueue(1, right=2).id
    put_aside(scripts, id)
    sentence = why(app, id).sentence
    assert sentence.startswith("its task tests.jobs.add kept failing (OSError: down), so its breaker is open since")
    assert "; jobs are tried in" in sentence


def test_a_pause_that_jobs_do_not_outlast_is_warned_of() -> None:
    tasks = [("long", Breaker(pause=300), 60.0), ("short", Breaker(pause=30), 60.0), ("kept", Breaker(), None)]
    (finding,) = check_breakers(tasks)
    assert (finding.passed, finding.warning) == (True, True)
    assert finding.text.startswith("long pauses for 300 s and expires after 60 s: jobs")


@pytest.mark.parametrize(
    "wrong",
    [
        {"failures": 0},
        {"probes": True},
        {"window": 0.5},
        {"pause": "5m"},
        {"backoff": 0.5},
        {"cap": 0},
        {"ratio": 1.5},
        {"minimum": 0},
        {"on": ConnectionError},
        {"on": ()},
    ],
    ids=str,
)
def test_a_breaker_out_of_its_bounds_is_refused_where_it_is_declared(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(DeclarationError, match=rf"Breaker\({name}="):
        Breaker(**wrong)
