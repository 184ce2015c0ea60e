"""A run from end to end, with systems that take a moment: what is not what it claims to be has no figure."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.comparison import environment, measuring
from benchmarks.comparison.catalogue import SYSTEMS
from benchmarks.comparison.measuring import Load, run
from benchmarks.comparison.system import System
from benchmarks.conditions import BenchmarkError
from benchmarks.servers import Server
from tests.servers import running

HERE = environment.Own(("redis",))
BARE = replace(SYSTEMS["bare"], environment=HERE)
LOAD = Load(many=200, one_by_one=20, idle=5)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One of its own: a run empties it."""
    with running("valkey", tcp=True) as valkey:
        yield Server(valkey.port)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "DRAIN_SECONDS", 20.0)
    monkeypatch.setattr(measuring, "SETTLE_SECONDS", 2.0)


@pytest.mark.slow
def test_a_bare_loop_has_every_figure(server: Server, tmp_path: Path) -> None:
    found = run(BARE, server, tmp_path, LOAD)
    assert found.drained.jobs == 220
    assert found.drained.run > 0
    assert found.drained.pss > 1
    assert found.value("idle_p50") is not None
    assert found.enqueue is not None
    assert found.keys_left == 0


@pytest.mark.slow
def test_a_stock_side_that_has_loaded_penstock_is_refused(server: Server, tmp_path: Path) -> None:
    loads_it = (
        "import sys, penstock; from benchmarks.peers import bare; "
        "bare.produce() if sys.argv[1] == 'produce' else bare.work()"
    )
    guilty = replace(BARE, producer=("-c", loads_it, "produce"), workers=[("-c", loads_it, "work")])
    with pytest.raises(BenchmarkError, match="penstock is loaded in a process of it"):
        run(guilty, server, tmp_path, LOAD)


@pytest.mark.slow
def test_a_worker_that_ends_is_told_with_what_it_said(server: Server, tmp_path: Path) -> None:
    ended = replace(BARE, workers=[("-c", "raise SystemExit('no such queue')")])
    with pytest.raises(BenchmarkError, match=r"a worker ended with 1(.|\n)*no such queue"):
        run(ended, server, tmp_path, LOAD)


@pytest.mark.slow
def test_a_queue_that_is_never_settled_has_no_figure(server: Server, tmp_path: Path) -> None:
    forgetful: System = replace(BARE, pending=(*BARE.pending, "left"))
    producer = "from benchmarks.peers import bare; bare.connect().set('left', 1); bare.produce()"
    with pytest.raises(BenchmarkError, match="has settled 220 jobs"):
        run(replace(forgetful, producer=("-c", producer)), server, tmp_path, LOAD)


def test_environments_are_kept_where_git_does_not_look() -> None:
    assert environment.KEPT.relative_to(environment.ROOT).parts[0] == "var"
    assert HERE.program() == sys.executable
