"""`workers list` and `workers show`, with a real worker beside one of stock Celery."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import Result
from rich.console import Console

from penstock.cli.worker_table import print_worker
from penstock.cli.workers import workers
from penstock.operations.workers import deeds
from penstock.operations.workers.deeds import WorkerRefused
from penstock.operations.workers.view import Child, Told, Verdict, WorkerView
from tests.cli.conftest import run_with
from tests.cli.stock import stock_worker
from tests.conftest import Live
from tests.jobs import sleep
from tests.live import wait_for

pytestmark = pytest.mark.slow


def listed(live: Live) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code of `workers list --json`, and what it says of each worker."""
    result = run_with(live.app, workers, "list", "--json")
    return result.exit_code, {view["name"]: view for view in json.loads(result.stdout)}


def ours(live: Live) -> dict[str, Any]:
    """What the list says of the module's worker."""
    _, found = listed(live)
    (view,) = (view for view in found.values() if view["lease"])
    return view


def shown(live: Live, *options: str) -> Result:
    return run_with(live.app, workers, "show", ours(live)["name"], *options)


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_worker_that_is_well_is_listed_with_its_processes(live: Live) -> None:
    # Its keeper takes the lease a moment after it is ready.
    wait_for(lambda: all(view["lease"] for view in listed(live)[1].values()), "it has a lease")
    code, found = listed(live)
    (view,) = found.values()
    assert (code, view["verdict"]) == (0, "well")
    roles = {process["role"]: process["pid"] for process in view["told"]["processes"]}
    assert (roles["parent"], roles["zygote"], roles["keeper"]) == (
        live.worker.pid,
        live.worker.zygote,
        live.worker.keeper,
    )
    assert {child["pid"] for child in view["told"]["children"]} == set(live.worker.children)


def test_a_pipe_gets_one_line_for_each_worker(live: Live) -> None:
    (line,) = run_with(live.app, workers, "list").stdout.splitlines()
    name, verdict, running, children, memory, queues, _ = line.split("\t")
    assert (name, verdict, running, children) == (ours(live)["name"], "well", "0", "2")
    assert int(memory) > 1000
    assert "default" in queues.split(",")


def test_a_worker_that_stands_still_fails_the_list_and_is_named_first(live: Live) -> None:
    with standing_still(live.worker.pid):
        result = run_with(live.app, workers, "list")
    assert result.exit_code == 1
    first = result.stdout.splitlines()[0]
    assert "\tstuck\t" in first
    assert "its parent is stopped" in first


def test_a_keeper_that_stands_still_is_named(live: Live) -> None:
    keeper = live.worker.keeper
    with standing_still(keeper):
        view = ours(live)
    assert view["verdict"] == "stuck"
    assert f"its keeper {keeper} is stopped" in view["why"][0]


def test_what_a_worker_runs_is_shown_with_how_long(live: Live) -> None:
    id = sleep.enqueue(3).id
    wait_for(lambda: id[:8] in shown(live).stdout, "it is shown")
    text = shown(live).stdout
    assert "tests.jobs.sleep" in text
    children = json.loads(shown(live, "--json").stdout)["told"]["children"]
    (child,) = (child for child in children if child["job"] == id)
    assert (child["state"], child["queue"]) == ("running", "default")
    assert 0 < child["seconds"] < 30


def test_a_child_that_runs_many_jobs_is_one_line_with_how_many() -> None:
    child = Child(7, "running", running=41, places=200, job="a-job", task="tasks.fetch", seconds=2.0)
    view = WorkerView(
        "fetch@here", Verdict.WELL, ("well",), None, Told("fetch@here/1", True, ("web",), children=(child,))
    )
    with (console := Console(width=200)).capture() as captured:
        print_worker(console, view)
    (line,) = (line for line in captured.get().splitlines() if "tasks.fetch" in line)
    assert "running 41 of 200" in line


def test_a_worker_that_is_not_there_is_refused_with_those_that_are(live: Live) -> None:
    result = run_with(live.app, workers, "show", "nobody@nowhere")
    assert result.exit_code == 1
    assert f"with a lease are {ours(live)['name']}" in result.stderr


def test_a_worker_that_was_told_twice_to_stop_claiming_still_knows_from_what(live: Live) -> None:
    name = ours(live)["name"]
    served = ours(live)["told"]["queues"]
    for _ in range(2):
        deeds.stop_claiming(live.app, name, actor="ada")
        wait_for(lambda: ours(live)["verdict"] == "paused", "it claims nothing")
    deeds.claim_again(live.app, name, actor="ada")
    wait_for(lambda: ours(live)["told"]["queues"] == served, "it claims as before")
    assert ours(live)["told"]["stopped"] == []


def test_asking_leaves_nothing_behind_in_redis(live: Live) -> None:
    with redis.Redis.from_url(live.environment["REDIS_URL"]) as client:
        ours(live)
        assert client.keys("*reply*") == []


def test_a_stock_worker_is_listed_and_tells_what_celery_knows(live: Live, tmp_path: Path) -> None:
    name = "stock@elsewhere"
    with stock_worker(tmp_path, live.environment["REDIS_URL"], tmp_path / "effects", "-n", name):
        wait_for(lambda: name in listed(live)[1], "it answers", 60)
        # Right after one another: no question takes the answers of the next.
        assert [listed(live)[1][name]["verdict"] for _ in range(4)] == ["answers"] * 4
        told = json.loads(run_with(live.app, workers, "show", name, "--json").stdout)["told"]
        assert (told["is_ours"], told["queues"]) == (False, ["default"])
        with pytest.raises(WorkerRefused, match="stock Celery"):
            deeds.stop_claiming(live.app, name, actor="ada")
