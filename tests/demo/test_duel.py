"""The duel: its judge sees each kind of harm in what jobs leave behind, and Penstock comes to none."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo.duel.effects import END, START, Effect, Lines
from demo.duel.judge import Evidence, Harm, Verdict, judge
from demo.duel.match import rhythm
from demo.duel.side import Strike
from demo.duel.story import BAD, GOOD, cause, tell
from tests.live import ROOT

FOREVER = float("inf")
FIRST, SECOND = 11, 12
"""Processes."""


def start(at: float, pid: int = FIRST, attempt: str = "a") -> dict[str, Any]:
    return {"kind": START, "pid": pid, "at": at, "job": "job", "attempt": attempt}


def end(at: float, pid: int = FIRST, attempt: str = "a") -> dict[str, Any]:
    return {"kind": END, "pid": pid, "at": at, "job": "job", "attempt": attempt}


def verdict(folder: Path, *lines: dict[str, Any], **evidence: Any) -> Verdict:
    """The verdict on one job, accepted at 1, that left these lines in the file."""
    file = folder / "effects.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    effects = [Effect(**line) for line in Lines(file).new()]
    return judge(Evidence({"job": 1.0}, effects, **evidence))


def test_a_job_that_is_done_and_recorded_came_to_no_harm(tmp_path: Path) -> None:
    assert verdict(tmp_path, start(2), end(3), recorded={"job": 3.1}).is_clean


def test_a_job_that_was_accepted_and_left_no_line_is_lost(tmp_path: Path) -> None:
    assert verdict(tmp_path).lost == {"job": Harm(1.0, started=False)}


def test_a_job_that_has_just_left_its_queue_is_open(tmp_path: Path) -> None:
    assert verdict(tmp_path, left={"job": 7.0}, now=9.0).open == {"job"}
    assert verdict(tmp_path, left={"job": 7.0}, now=15.0).lost == {"job": Harm(7.0, started=False)}


def test_a_row_does_not_make_a_job_done(tmp_path: Path) -> None:
    assert verdict(tmp_path, start(2), deaths={FIRST: 3.0}, recorded={"job": 3.1}).figures == (1, 0, 0)


def test_a_job_whose_process_died_is_lost_unless_it_waits_or_runs_again(tmp_path: Path) -> None:
    died = {FIRST: 3.0}
    assert verdict(tmp_path, start(2), deaths=died).lost == {"job": Harm(3.0)}
    assert verdict(tmp_path, start(2), deaths=died, waiting={"job"}).open == {"job"}
    assert verdict(tmp_path, start(2), start(4, SECOND, "b"), deaths=died).open == {"job"}


def test_a_job_that_its_process_left_for_another_is_lost(tmp_path: Path) -> None:
    other = start(4, attempt="b") | {"job": "other"}
    assert verdict(tmp_path, start(2), other).lost == {"job": Harm(4)}


def test_a_job_that_is_open_spoils_a_clean_verdict(tmp_path: Path) -> None:
    found = verdict(tmp_path, start(2))
    assert found.figures == (0, 0, 0)
    assert not found.is_clean


def test_a_start_beside_a_living_one_is_a_double(tmp_path: Path) -> None:
    lines = start(2), start(3, SECOND, "b"), end(4), end(5, SECOND, "b")
    assert verdict(tmp_path, *lines, recorded={"job": 6.0}).doubled == {"job": Harm(3)}


def test_a_start_after_the_end_is_a_double_while_the_process_lives(tmp_path: Path) -> None:
    lines = start(2), end(3), start(5, SECOND, "b"), end(6, SECOND, "b")
    assert verdict(tmp_path, *lines, recorded={"job": 6.1}).doubled
    assert not verdict(tmp_path, *lines, recorded={"job": 6.1}, deaths={FIRST: 4.0}).doubled


def test_a_start_after_the_row_is_a_double_also_if_the_process_was_killed(tmp_path: Path) -> None:
    lines = start(2), end(3), start(5, SECOND, "b"), end(6, SECOND, "b")
    assert verdict(tmp_path, *lines, recorded={"job": 3.5}, deaths={FIRST: 4.0}).doubled


def test_a_start_after_a_kill_is_none(tmp_path: Path) -> None:
    lines = start(2), start(3.5, SECOND, "b"), end(4, SECOND, "b")
    assert verdict(tmp_path, *lines, recorded={"job": 5.0}, deaths={FIRST: 3.0}).is_clean


def test_a_job_that_is_done_and_has_no_row_is_never_recorded(tmp_path: Path) -> None:
    assert verdict(tmp_path, start(2), end(3)).unrecorded == {"job": Harm(3)}


def test_a_line_that_is_still_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "effects.jsonl"
    lines = Lines(file)
    file.write_text('{"kind": "sta')
    assert lines.new() == []
    file.write_text('{"kind": "start"}\n')
    assert lines.new() == [{"kind": "start"}]


def test_a_harm_is_put_down_to_the_fault_that_did_it() -> None:
    child, worker, sql = Strike("child", 5, 5, 5), Strike("worker", 11, 14, 14), Strike("sql", 27, 27, 37)
    strikes = [child, worker, sql]
    assert cause(Harm(5.0), strikes) is child
    assert cause(Harm(10.5, started=False), strikes) is worker, "it lay in the worker that was frozen next"
    assert cause(Harm(26.9), strikes, delay=2.0) is sql, "its row was still to be written"


def test_the_story_of_a_fault_says_what_it_did(tmp_path: Path) -> None:
    strike = Strike("child", 3, 3, 3, {"job"})
    died = {FIRST: 3.0}
    lost = verdict(tmp_path, start(2), deaths=died)
    assert tell(strike, [strike], lost, FOREVER) == ("1 lost", BAD)
    back = verdict(tmp_path, start(2), start(3.4, SECOND, "b"), end(4, SECOND, "b"), deaths=died, recorded={"job": 5.0})
    assert tell(strike, [strike], back, FOREVER) == ("its job ran again after 0.4 s", GOOD)


def test_each_second_of_the_load_has_jobs_of_every_length() -> None:
    for second in zip(*[rhythm(8)] * 4, strict=True):
        assert {length for jobs in second for length in jobs} == {0.03, 0.3, 2.0}


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_short_duel_ends_with_nothing_lost_doubled_or_unrecorded(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo.duel", "--seconds", "20", "--json"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    stock, ours = found["stock"], found["penstock"]
    assert re.fullmatch(r"stock: lost \d+, doubled \d+, never recorded \d+ · Penstock: 0, 0, 0", found["line"])
    assert stock["accepted"] == ours["accepted"] > 500
    assert all(worker["ours"] == [] for worker in stock["workers"])
    assert len(list((tmp_path / "var/duel/penstock").glob("*.jsonl"))) == 2
