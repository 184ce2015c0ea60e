"""docs/outbox.md: its examples put their jobs where it says."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import Session

from penstock.ledger import schema
from penstock.ledger.session import reading
from penstock.ledger.tables import outbox
from tests import jobs
from tests.conftest import NewLedger, deployment, producer
from tests.live import ROOT

BLOCKS = {
    block.splitlines()[0].removeprefix("# "): block
    for block in re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/outbox.md").read_text(), re.DOTALL | re.MULTILINE)
}


def run(name: str, environment: dict[str, str], folder: Path) -> list[str]:
    """Runs an example beside the others; the tasks whose jobs are in the outbox afterwards."""
    for path, block in BLOCKS.items():
        (folder / path).write_text(block)
    command = [sys.executable, name]
    variables = environment | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    with reading(environment["DATABASE_URL"]) as connection:
        return list(connection.execute(select(outbox.c.task).order_by(outbox.c.number)).scalars())


def test_a_view_that_commits_has_its_job(environment: dict[str, str], tmp_path: Path) -> None:
    assert run("shop.py", environment, tmp_path) == ["__main__.confirm_order"]


def test_an_asynchronous_one_as_well(broker_url: str, postgresql_url: str, tmp_path: Path) -> None:
    assert run("async_shop.py", deployment(broker_url, postgresql_url, tmp_path), tmp_path) == ["shop.confirm_order"]


def test_so_have_plain_celery_tasks(environment: dict[str, str], tmp_path: Path) -> None:
    assert run("legacy_shop.py", environment, tmp_path) == ["legacy.count_order"] * 2


@pytest.fixture
def crowded_url(new_ledger: NewLedger) -> Iterator[str]:
    """Address of a ledger in a schema of its own, in a database that has tables of the same names."""
    with new_ledger("postgresql") as url:
        schema.downgrade(url, "base")
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE jobs (title TEXT)"))
            connection.execute(text("CREATE SCHEMA penstock"))
        engine.dispose()
        ours = f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3Dpenstock"
        schema.upgrade(ours)
        yield ours


def test_a_ledger_may_have_a_schema_of_its_own(broker_url: str, crowded_url: str, tmp_path: Path) -> None:
    theirs = create_engine(crowded_url.replace("%3Dpenstock", "%3Dpublic,penstock"))
    with producer(deployment(broker_url, crowded_url, tmp_path)), Session(theirs) as session:
        session.execute(text("INSERT INTO jobs VALUES ('cook')"))
        job = jobs.add.options(session=session).enqueue(1, 2)
        session.commit()
        assert job.refresh().state is not None
    theirs.dispose()
