"""`make bench QUICK=1`: its last line is for machines, and a run that fails its checks prints no figure."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks.comparison import heart
from benchmarks.comparison.catalogue import HEART, SYSTEMS
from benchmarks.comparison.outcome import Drained, Outcome, Run
from benchmarks.comparison.system import System
from benchmarks.comparison.targets import verdicts
from benchmarks.conditions import BenchmarkError

KEYS = {"bare", "bare_recorded", "celery_none", "celery_sql", "huey", "penstock_pg"}
RATES = {
    "bare": 120_000.0,
    "bare_recorded": 50_000.0,
    "celery_none": 1300.0,
    "celery_sql": 600.0,
    "huey": 7000.0,
    "penstock_pg": 30_000.0,
}


def outcome(name: str, rates: Sequence[float]) -> Outcome:
    runs = [Run(drained=Drained(1000, rate, 40.0, 5.0, None, 1.0, 90.0), enqueue_many=9000.0) for rate in rates]
    return Outcome(name, SYSTEMS[name].title, "nothing", "", {"python": "3.11"}, runs)


def measured(systems: Sequence[System], *_: Any) -> list[Outcome]:
    return [outcome(system.name, [RATES[system.name]] * 3) for system in systems]


@pytest.fixture(autouse=True)
def _no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "machine", lambda: {"processor": "2 cores"})


def test_the_last_line_is_one_json_object_with_the_six_rates(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "compare", measured)
    assert command.main(["--quick"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == RATES
    assert set(HEART) == KEYS


def test_a_run_that_fails_its_checks_prints_no_figure_and_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: Any) -> list[Outcome]:
        raise BenchmarkError("the ledger holds 2 rows of 3 jobs")

    monkeypatch.setattr(command, "compare", refused)
    assert command.main(["--quick"]) == 2
    said = capsys.readouterr()
    assert "2 rows of 3 jobs" in said.err
    assert "jobs/s" not in said.out
    assert "{" not in said.out


def test_a_figure_is_the_median_of_its_runs() -> None:
    outcomes = [outcome(name, [1.0, RATES[name], 1e6]) for name in HEART]
    assert json.loads(heart.last_line(outcomes)) == RATES


def test_without_all_six_there_is_no_last_line() -> None:
    with pytest.raises(BenchmarkError, match="huey"):
        heart.last_line([outcome(name, [1.0]) for name in HEART if name != "huey"])


def test_targets_say_whether_they_hold() -> None:
    found = {verdict.what: verdict for verdict in verdicts([outcome(name, [RATES[name]]) for name in HEART])}
    recorded = found["run: times a bare loop that writes the same fenced row"]
    assert (recorded.value, recorded.holds) == (0.6, True)
    assert found["run: times stock Celery prefork with its SQL backend"].value == 50
    assert not found["enqueue many: jobs/s from one process"].holds
