"""`jobs watch` and `jobs logs` with a real worker, in a pipe and on a terminal; the same by the client's handle."""

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from penstock.cli.job_watch import watch
from penstock.cli.jobs import jobs
from penstock.client import Job
from penstock.errors import ArgumentError
from penstock.job import State
from penstock.watching import News
from tests import jobs as tasks
from tests.cli.conftest import run_with
from tests.conftest import Live
from tests.live import ROOT, wait_for

pytestmark = pytest.mark.slow
ROWS = 4


@pytest.fixture(scope="module")
def done(live: Live) -> Job[int]:
    job = tasks.read_rows.enqueue(ROWS)
    assert job.result(20) == ROWS
    wait_for(lambda: len(job.logs()) == ROWS, "its log is in the ledger")
    return job


def on_terminal(live: Live, *ids: str) -> tuple[int, str]:
    """Exit code, and what a terminal of 120 columns is told."""
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None, markup=False)
    code = watch(live.app, console, ids, level="debug", as_json=False)
    return code, console.file.getvalue()  # type: ignore[attr-defined]


def test_in_a_pipe_each_line_and_the_last_progress_are_told(live: Live, done: Job[int]) -> None:
    result = run_with(live.app, jobs, "watch", done.id)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split(": ")[-1] for line in lines[:ROWS]] == [
        "row 1",
        "row 2, password=*** \ufffd[2J",
        "row 3",
        "row 4",
    ]
    assert "100%, 4/4" in lines[-2]
    assert lines[-1].startswith("succeeded after")


def test_the_exit_code_says_that_one_has_failed_and_its_error_is_told(live: Live, done: Job[int]) -> None:
    failed = tasks.read_rows.enqueue(2, error="the second row is broken")
    result = run_with(live.app, jobs, "watch", failed.id, done.id)
    assert result.exit_code == 1
    assert f"{failed.id[:8]} failed after" in result.stdout
    assert "ValueError: the second row is broken" in result.stdout
    assert f"{done.id[:8]} succeeded after" in result.stdout


def test_each_piece_of_news_is_an_object_of_json_until_the_end(live: Live, tmp_path: Path) -> None:
    until = tmp_path / "until"
    job = tasks.read_rows.enqueue(ROWS, str(until))
    wait_for(lambda: (seen := job.refresh().progress) and seen.done == ROWS - 1, "it waits at the last row")
    until.touch()
    result = run_with(live.app, jobs, "watch", "--json", job.id)
    news = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["number"] for each in news for line in each["lines"]] == [1, 2, 3, 4]
    assert (news[-1]["state"], news[-1]["progress"]["done"]) == ("succeeded", ROWS)


def test_a_terminal_shows_a_bar_and_obeys_no_text_of_the_job(live: Live, done: Job[int]) -> None:
    code, text = on_terminal(live, done.id)
    assert code == 0
    assert "100%  4/4" in text
    assert "━" * 28 in text
    assert "password=***" in text
    assert "\x1b[2J" not in text
    assert "\x1b]0;" not in text


def interrupted(process: subprocess.Popen[str]) -> int:
    """Exit code after Ctrl-C: once more, as a person would, if Python lost it while it finalised an object."""
    for _ in range(3):
        os.kill(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(10)
    process.kill()
    return process.wait()


def test_ctrl_c_leaves_the_job_alone(live: Live, tmp_path: Path) -> None:
    until = tmp_path / "until"
    job = tasks.read_rows.enqueue(ROWS, str(until))
    command = [sys.executable, "-m", "celery", "-A", "tests.worker_app", "jobs", "watch", job.id]
    with subprocess.Popen(command, cwd=ROOT, env=live.environment, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert "row 1" in "".join(line for line, _ in zip(watching.stdout, range(2), strict=False))
        assert interrupted(watching) == 130
    until.touch()
    assert job.result(20) == ROWS


def test_logs_are_printed_from_a_level_on_and_as_json(live: Live, done: Job[int]) -> None:
    text = run_with(live.app, jobs, "logs", "--level", "warning", done.id[:13]).stdout
    assert text.splitlines()[-1].endswith("WARNING shop.rows: row 2, password=*** \ufffd[2J")
    assert len(text.splitlines()) == 1
    lines = [json.loads(line) for line in run_with(live.app, jobs, "logs", "--json", done.id).stdout.splitlines()]
    assert [(line["number"], line["level"], line["attempt"]) for line in lines][:2] == [
        (1, "INFO", 1),
        (2, "WARNING", 1),
    ]


def test_logs_that_are_followed_end_with_the_job(live: Live, done: Job[int]) -> None:
    text = run_with(live.app, jobs, "logs", "--follow", done.id).stdout
    assert [line.split(": ")[-1] for line in text.splitlines()][::3] == ["row 1", "row 4"]


def test_a_job_that_nobody_knows_is_not_watched(live: Live) -> None:
    result = run_with(live.app, jobs, "watch", "nobodys")
    assert result.exit_code == 1
    assert "has no job nobodys" in result.stderr


def test_show_tells_how_far_it_was_and_how_much_it_has_logged(live: Live, done: Job[int]) -> None:
    text = run_with(live.app, jobs, "show", done.id).stdout
    assert "100%, 4/4, row 4 \ufffd]0;owned\ufffd, reported" in text
    assert f"4 lines; `jobs logs {done.id[:8]}` prints them" in text
    (report,) = json.loads(run_with(live.app, jobs, "show", "--json", done.id).stdout)["reports"]
    assert (report["lines"], report["progress"]["total"]) == (ROWS, ROWS)


# -- by the handle ---------------------------------------------------------------------------------------------------


def test_a_job_is_watched_until_its_end_and_from_a_cursor_on(live: Live, tmp_path: Path) -> None:
    until = tmp_path / "until"
    job = tasks.read_rows.enqueue(ROWS, str(until))
    seen: list[News] = []
    for news in job.watch(timeout=30):
        seen.append(news)
        if sum(len(each.lines) for each in seen) == ROWS - 1:
            break
    until.touch()
    rest = list(Job[int](job.id, job.task).watch(after=seen[-1].cursor, timeout=30))
    assert [line.text for news in rest for line in news.lines] == ["row 4"]
    assert rest[-1].state is State.SUCCEEDED


def test_a_coroutine_watches_in_the_same_way(live: Live) -> None:
    async def watched() -> list[Any]:
        job = await tasks.read_rows.aenqueue(ROWS)
        news = [each async for each in job.awatch(timeout=30)]
        await job.alogs()
        return [news[-1].state, sum(len(each.lines) for each in news)]

    assert asyncio.run(watched()) == [State.SUCCEEDED, ROWS]


def test_a_job_that_does_not_end_is_watched_for_so_long(live: Live, tmp_path: Path) -> None:
    until = tmp_path / "until"
    job = tasks.read_rows.enqueue(2, str(until))
    with pytest.raises(TimeoutError, match=r"has not ended within 0\.5 s; it goes on"):
        list(job.watch(timeout=0.5))
    until.touch()
    assert job.result(20) == 2


def test_a_cursor_or_a_level_that_is_none_is_refused(live: Live, done: Job[int]) -> None:
    with pytest.raises(ArgumentError, match="no cursor of a log"):
        done.logs(after="yesterday")
    with pytest.raises(ArgumentError, match="one of debug, info"):
        done.logs(level="loud")
