"""The small tasks that tests run in real workers; declared as a user would declare them."""

import logging
import math
import os
import signal
import socket
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from celery import shared_task
from celery.exceptions import Ignore, Reject
from sqlalchemy import make_url

from penstock import Retry, Settings, current_job, task

logger = logging.getLogger("shop.rows")


@task()
def add(left: int, right: int) -> int:
    return left + right


@task()
def echo(value: Any) -> Any:
    return value


@task()
def fail(message: str) -> None:
    raise ValueError(message)


@task()
def fail_strangely() -> None:
    """An exception whose text no database stores as it is, and whose arguments are not JSON."""
    raise StrangeError("\x00 and \ud800", object(), float("nan"))


class StrangeError(Exception):
    """Unlike what serialisers expect."""


@task()
def return_an_object() -> object:
    return object()


@task()
def return_nan() -> float:
    return float("nan")


@task(retry=Retry(attempts=3, base=0.1, on=(ConnectionError,)))
def succeed_at(attempt: int) -> int:
    job = current_job()
    assert job is not None
    if job.attempt < attempt:
        raise ConnectionError(f"attempt {job.attempt}")
    return job.attempt


@task()
def read_rows(rows: int, until: str = "", error: str = "") -> int:
    """Says how far it is and logs, waits for a file before its last row, and may fail then."""
    job = current_job()
    assert job is not None
    for row in range(1, rows + 1):
        while row == rows and until and not Path(until).exists():
            time.sleep(0.02)
        logger.warning("row %s, password=hunter2 \x1b[2J", row) if row == 2 else logger.info("row %s", row)
        job.progress(row, rows, f"row {row} \x1b]0;owned\x07")
    if error:
        raise ValueError(error)
    return rows


class Throttled(ConnectionError):
    """Says itself when to come back."""

    retry_after = 0.3


@task(retry=Retry(attempts=2, base=60, cap=60, on=(ConnectionError,)))
def come_back_when_told() -> int:
    job = current_job()
    assert job is not None
    if job.attempt == 1:
        raise Throttled("later")
    return job.attempt


@task(timeout=0.5)
def overrun(seconds: float) -> None:
    time.sleep(seconds)


@task(schedule_timeout=30)
def hasty() -> None: ...


@task()
def kill_own_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task()
def leave() -> None:
    raise SystemExit(3)


@task()
def recurse(depth: int = 0) -> int:
    return recurse(depth + 1)


@task()
def sleep(seconds: float, started: str | None = None) -> int:
    if started:
        Path(started).write_text(str(os.getpid()))
    time.sleep(seconds)
    return os.getpid()


@task()
def connections(seconds: float) -> tuple[int, list[str]]:
    """This process and its ledger connections; takes a while, so that another child takes the next job."""
    time.sleep(seconds)
    return os.getpid(), ledger_connections()


def ledger_connections() -> list[str]:
    """This process's open connections to the ledger: sockets by the kernel's names, or open files of SQLite."""
    port = make_url(Settings.load().database_url).port
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            name = str(entry.readlink())
            if name.endswith("/ledger.db") or (name.startswith("socket:") and _leads_to(int(entry.name), port)):
                found.append(name)
        except OSError:
            continue
    return found


def _leads_to(descriptor: int, port: int | None) -> bool:
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        peer = connection.getpeername()
    return "PGSQL" in peer if isinstance(peer, str) else peer[1] == port


@task()
def start_another() -> str:
    return add.enqueue(1, 2).id


@shared_task(name="tests.plain")
def plain(left: int, right: int) -> int:
    return left + right


@shared_task(name="tests.tracked", track_started=True)
def tracked(seconds: float) -> None:
    time.sleep(seconds)


@shared_task(name="tests.isnan")
def isnan(value: float) -> bool:
    return math.isnan(value)


@shared_task(name="tests.money")
def money(amount: Decimal) -> Decimal:
    return amount * 2


@shared_task(name="tests.forgetful", ignore_result=True)
def forgetful() -> str:
    return "nobody asks"


@shared_task(name="tests.ignored")
def ignored() -> None:
    raise Ignore


@shared_task(name="tests.rejected")
def rejected() -> None:
    raise Reject("no", requeue=False)


@shared_task(name="tests.progressing", bind=True)
def progressing(self: Any, until: str) -> str:
    self.update_state(state="PROGRESS", meta={"done": 1, "total": 2})
    while not Path(until).exists():
        time.sleep(0.02)
    return "done"


@shared_task(name="tests.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)
