"""What is wanted of children that run many jobs, and the part of the page about jobs that wait."""

import argparse
from collections.abc import Sequence
from dataclasses import replace

import pytest

from benchmarks import __main__ as command
from benchmarks.comparison import sleeps
from benchmarks.comparison.catalogue import BEFORE, SYSTEMS
from benchmarks.comparison.outcome import Drained, Outcome, Run
from benchmarks.comparison.targets import verdicts
from benchmarks.conditions import BenchmarkError


def outcome(name: str, *rates: float, jobs: int = 1000) -> Outcome:
    runs = [Run(Drained(jobs, rate, 40.0, 5.0, None, 1.0, 90.0), enqueue_many=9000.0) for rate in rates]
    return Outcome(name, SYSTEMS[name].title, SYSTEMS[name].keeps, "settings", {"python": "3.11"}, runs)


def held(outcomes: Sequence[Outcome]) -> dict[str, bool]:
    return {str(verdict.what).partition(":")[0] + f" {verdict.bound}": verdict.holds for verdict in verdicts(outcomes)}


def test_coroutines_are_wanted_faster_than_the_fastest_peer_that_has_them() -> None:
    measured = [outcome("taskiq", 3000), outcome("saq", 1000), outcome("arq", 900)]
    assert held([*measured, outcome("penstock_asyncio", 3500)]) == {"coroutines ≥ 1 x": True}
    assert held([*measured, outcome("penstock_asyncio", 2900)]) == {"coroutines ≥ 1 x": False}
    assert held([outcome("penstock_asyncio_1", 4999)]) == {"coroutines ≥ 5,000": False}


def test_threads_and_single_jobs_have_bounds_of_their_own() -> None:
    measured = [outcome("penstock_pg_1", 10_000), outcome("penstock_threads_1", 4999), outcome("penstock_before", 9000)]
    assert held(measured) == {"threads ≥ 0.5 x": False}
    found = held([outcome("penstock_pg", 8600), outcome("penstock_before", 9000)])
    assert found["one at a time ≥ 0.95 x"] is True


def test_jobs_that_wait_have_a_row_each_the_soonest_first_and_the_target_is_in_seconds() -> None:
    found = [outcome("saq", 800, 500, 1000), outcome("penstock_asyncio_1", 2500, 2000, 1900)]
    text = "\n".join(sleeps.as_markdown(found))
    assert "| saq x 2 | Redis, 10 minutes | settings | 1.25 | 1 / 2 | 40 | 90 |" in text
    assert text.index("kind asyncio |") < text.index("| saq x 2")
    assert "on one child of kind asyncio, s ≤ 0.5 | 0.50 | holds |" in text
    (verdict,) = sleeps.verdicts([outcome("penstock_asyncio_1", 1900)])
    assert not verdict.holds


def test_each_that_sleeps_is_one_process_with_as_many_jobs_as_there_are() -> None:
    for system in sleeps.SLEEPERS.values():
        assert len(system.workers) == 1, system.name
        assert (system.fewest, system.most) == (sleeps.JOBS, sleeps.JOBS)
        assert system.variables["BENCH_SECONDS"] == "0.1"


def test_a_clone_without_the_older_commit_measures_all_else(capsys: pytest.CaptureFixture[str]) -> None:
    lost = replace(SYSTEMS["penstock_before"], environment=replace(BEFORE, commit="0" * 40))
    asked = argparse.Namespace(system=None)
    assert command.wanted({"lost": lost, "saq": SYSTEMS["saq"]}, asked) == [SYSTEMS["saq"]]
    assert "left out, as this clone does not have the commit" in capsys.readouterr().err
    with pytest.raises(BenchmarkError, match="none of these is measured here: lost"):
        command.wanted({"lost": lost}, asked)
