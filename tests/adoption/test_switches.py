"""The table of docs/adopt.md: each form of the call makes the pool and keeps the results where it says."""

import json
import re
from pathlib import Path

import pytest

from tests.adoption.project import PAGE, Project, command
from tests.faults.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
ROWS = re.findall(r"^\| `(penstock\.adopt\(.*\))` \| yes \| (.*) \| in (.*) \|$", PAGE, re.MULTILINE)
POOLS = {"ours": "(pool)", "Celery's prefork": "(prefork)"}
BACKENDS = {"the app's own backend": "redis://", "the ledger": "sqlite:///ledger.db"}


def test_the_page_has_every_combination() -> None:
    assert {(pool, results) for _, pool, results in ROWS} == {(pool, results) for pool in POOLS for results in BACKENDS}


@pytest.mark.parametrize(("call", "pool", "results"), ROWS, ids=[call for call, *_ in ROWS])
def test_the_call_does_as_the_page_says(call: str, pool: str, results: str, tmp_path: Path) -> None:
    with Server(tmp_path / "redis") as server:
        shop = Project(tmp_path / "shop", server.url, tmp_path / "books")
        shop.adopt(call)
        if has_ledger := results == "the ledger":
            shop.celery(*command("ledger"))
        with shop.worker() as worker:
            assert shop.front("place", "1", "--wait") == ["{'order': '1', 'paid': 350}"]
        assert POOLS[pool] in worker.log
        assert re.search(rf"\.> results: +{re.escape(BACKENDS[results])}", worker.log)
        if has_ledger:
            listed = json.loads(shop.celery("-A", "shop", "jobs", "list", "--json"))
            assert {job["task"] for job in listed["jobs"]} >= {"shop.orders.price", "shop.orders.charge"}
