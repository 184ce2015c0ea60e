"""Commands on the ledger of an app that is not made by us, and has adopted it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adoption.project import Project
from tests.faults.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
CALL = 'penstock.adopt(app, engine=False, ledger="sqlite:///ledger.db")'


def test_tables_jobs_and_balance_are_those_of_its_own_ledger(tmp_path: Path) -> None:
    with Server(tmp_path / "redis") as server:
        shop = Project(tmp_path / "shop", server.url, tmp_path / "books")
        shop.adopt(CALL)
        assert "it had no tables" in shop.celery("-A", "shop", "ledger", "upgrade")
        with shop.worker():
            assert shop.front("place", "1", "--wait") == ["{'order': '1', 'paid': 350}"]
        listed = json.loads(shop.celery("-A", "shop", "jobs", "list", "--json"))["jobs"]
        assert {job["task"] for job in listed} >= {"shop.orders.price", "shop.orders.charge", "shop.orders.ship"}
        (charge,) = [job for job in listed if job["task"] == "shop.orders.charge"]
        assert "BankBusy" in shop.celery("-A", "shop", "jobs", "show", charge["id"])
        shop.celery("-A", "shop", "audit")


def test_without_a_ledger_it_is_told_how_to_get_one(tmp_path: Path) -> None:
    shop = Project(tmp_path / "shop", "redis://127.0.0.1:1/0", tmp_path / "books")
    shop.adopt()
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "shop", "jobs", "list"],
        env=shop.environment,
        cwd=shop.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("penstock: this command works on the ledger, and the results of this app are not")
