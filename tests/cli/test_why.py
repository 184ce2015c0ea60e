"""`celery -A workers why JOB`."""

import json

import pytest
from rich.text import Text

from penstock.app import PenstockApp
from penstock.cli.why import why
from penstock.operations.queues import pause
from penstock.why.reason import Reason, Why
from tests import jobs
from tests.cli.conftest import Ledger, Run


def test_a_sentence_and_the_facts_behind_it(run: Run, app: PenstockApp) -> None:
    pause(app, "default", "the bank is down", actor="otto")
    id = jobs.add.enqueue(1, 2).id
    result = run(why, id)
    assert result.exit_code == 0
    first, *facts = result.stdout.splitlines()
    assert first.startswith("Its queue default was paused ")
    assert first.endswith(" by otto (the bank is down).")
    assert [line.split()[:2] for line in facts[:2]] == [["Paused", "queue"], ["Paused", "by"]]


def test_for_machines(run: Run, app: PenstockApp) -> None:
    id = jobs.add.enqueue(1, 2).id
    told = json.loads(run(why, id, "--json").stdout)
    assert told["id"] == id
    assert told["reasons"] == ["nobody-serves"]
    assert told["sentence"] == "no worker runs, so nobody serves its queue default"
    assert told["facts"]["Jobs before it"] == 0


def test_of_a_job_that_has_ended_it_says_so_by_the_beginning_of_its_id(run: Run, ledger: Ledger) -> None:
    ledger.succeed("3f2a91c0-8a55-4c0e-9d9a-0d3c8f1f2b7e")
    result = run(why, "3f2a91c0")
    assert result.exit_code == 0
    assert result.stdout.startswith("It has ended: succeeded ")


def test_a_name_that_a_sentence_begins_with_stays_as_it_is() -> None:
    claimed = Reason("just-claimed", "cpu@host has just claimed it", {})
    assert Why("1", (claimed,)).spoken == "cpu@host has just claimed it."
    assert (
        Why("1", (Reason("ended", "it has ended", {}), claimed)).spoken == "It has ended; cpu@host has just claimed it."
    )


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_gets_it_wrapped_at_words(
    run: Run, app: PenstockApp, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    pause(app, "default", "the bank is down " * 20, actor="otto")
    id = jobs.add.enqueue(1, 2).id
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(width))
    lines = Text.from_ansi(run(why, id).stdout).plain.splitlines()
    assert max(map(len, lines)) <= width
    assert {line.split()[-1] for line in lines[:2]} <= {"the", "bank", "is", "down"}


def test_what_nobody_has_heard_of_is_refused_with_what_may_be(run: Run, app: PenstockApp) -> None:
    result = run(why, "nobody")
    assert result.exit_code == 1
    assert result.stderr.startswith("penstock: there is no job nobody: neither the ledger nor Redis has heard of it: ")


def test_control_characters_of_others_do_not_reach_the_terminal(run: Run, app: PenstockApp) -> None:
    pause(app, "default", "red \x1b[31m", actor="otto")
    result = run(why, jobs.add.enqueue(1, 2).id)
    assert "\x1b" not in result.stdout
