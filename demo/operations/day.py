"""Makes the bad day, for real: a gateway that is away, a queue that somebody has paused, a worker that was stopped, and
a beat that was down.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psutil

from penstock.app import PenstockApp
from penstock.embedded import prepared_system
from penstock.errors import PenstockError
from penstock.flower import Access
from penstock.job import State
from penstock.ledger.fires import FireState
from penstock.ledger.search import JobFilter, count_by_state
from penstock.ledger.session import reading
from penstock.ledger.unfired import list_unfired
from penstock.operations import queues
from penstock.operations.overview import overview

ROOT = Path(__file__).parents[2]
"""Where flowerconfig.py is."""
APP = "demo.operations.shop"
CHARGES, RECEIPTS, FEEDS = 14, 40, 6
CHILD = "penstock-child"
BEAT_DOWN_SECONDS = 30.0
PATIENCE_SECONDS = 90.0
ACTOR = "dana@shop"


class DayFailed(PenstockError):
    """The bad day did not come about; the logs of its processes say why."""


@dataclass
class Day:
    """What is wrong.

    Attributes:
        flower: its address.
        gateway: a file that is there while the payment gateway is.
        unstarted: a job that has not started.
        credentials: user and password of Flower.
    """

    flower: str
    app: PenstockApp
    folder: Path
    gateway: Path
    credentials: tuple[str, str]
    unstarted: str = ""
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def count(self, task: str, state: State) -> int:
        """How many jobs of a task are in a state."""
        with reading(self.app.settings.database_url) as connection:
            return count_by_state(connection, JobFilter(task=task)).states.get(state, 0)


@contextmanager
def bad_day(folder: Path, tell: Callable[[str], None]) -> Iterator[Day]:
    """A running shop on a bad day; nothing of it runs afterwards.

    Raises:
        DayFailed: something that was to go wrong has not.
    """
    gateway = folder / "gateway-is-up"
    given = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
    given |= {"PENSTOCK_VAR": str(folder / "var"), "SHOP_GATEWAY": str(gateway), "FLOWER_PORT": str(_free_port())}
    with ExitStack() as stack:
        system = stack.enter_context(prepared_system(given))
        os.environ.update(system.environment)
        from demo.operations import shop  # reads the environment that was just made

        access = Access.load(system.settings, system.environment)
        user, _, password = access.basic_auth[0].partition(":")
        day = Day(access.url, shop.app, folder, gateway, (user, password))
        stack.callback(_end_all, day)
        tell("a broker, a ledger, three workers, a beat and Flower are starting …")
        _start_all(day, dict(system.environment))
        _go_wrong(day, dict(system.environment), tell)
        yield day


def _go_wrong(day: Day, environment: dict[str, str], tell: Callable[[str], None]) -> None:
    from demo.operations.shop import charge_card, import_feed, monthly_revenue, send_receipt

    queues.pause(day.app, "reports", "the warehouse is being moved until 14:00", actor=ACTOR)
    day.unstarted = monthly_revenue.enqueue("2026-10").id
    for order in range(RECEIPTS):
        send_receipt.enqueue(order, "nobody" if order % 13 == 5 else f"customer{order}@example.org")
    for order in range(CHARGES):
        charge_card.enqueue(order, f"{19 + order}.90", card_token=secrets.token_hex(8))
    _await(lambda: day.count("orders.charge_card", State.FAILED) == CHARGES, "the charges have failed")
    _await(lambda: _has_fired(day), "a schedule has fired")
    tell("the beat is down, and the child of the imports' worker hangs …")
    _end(day._running.pop("beat"))
    _children_of(day, "worker-imports", signal.SIGSTOP)
    for supplier in ("north", "south"):
        for rows in range(1, FEEDS):
            import_feed.enqueue(supplier, rows * 1000)
    time.sleep(BEAT_DOWN_SECONDS)
    _start(day, "beat", environment, "beat", "-l", "INFO")
    _await(lambda: _has_missed(day), "a fire was missed")
    tell("the queue of the imports is about to be late …")
    _await(lambda: any(view.late for view in overview(day.app)), "a queue is late")


def _has_fired(day: Day) -> bool:
    return day.count("mail.send_receipt", State.SUCCEEDED) > RECEIPTS


def _has_missed(day: Day) -> bool:
    with reading(day.app.settings.database_url) as connection:
        return bool(list_unfired(connection, FireState.MISSED, datetime.now(UTC) - timedelta(hours=1), 1))


def _start_all(day: Day, environment: dict[str, str]) -> None:
    for name in ("front", "imports", "reports"):
        _start(day, f"worker-{name}", environment, "worker", "--profile", name, "-n", f"{name}@shop", "-l", "INFO")
    _start(day, "beat", environment, "beat", "-l", "INFO")
    _start(day, "flower", environment, "flower")
    for name in ("front", "imports", "reports"):
        _await(partial(_is_ready, day, name), f"the worker {name} is ready")
    _await(lambda: _answers(day.flower), "Flower is up")


def _is_ready(day: Day, name: str) -> bool:
    return " ready." in _log(day, f"worker-{name}").read_text()


def _start(day: Day, name: str, environment: dict[str, str], *arguments: str) -> None:
    with _log(day, name).open("ab") as output:
        day._running[name] = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", APP, *arguments],
            env=environment,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _log(day: Day, name: str) -> Path:
    return day.folder / f"{name}.log"


def _answers(address: str) -> bool:
    host, _, port = address.removeprefix("http://").rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _end_all(day: Day) -> None:
    for process in day._running.values():
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process, also one that was stopped."""
    process.send_signal(signal.SIGTERM)
    os.killpg(process.pid, signal.SIGCONT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _children_of(day: Day, worker: str, kind: signal.Signals) -> None:
    """Sends a signal to the processes of a worker that run its jobs."""
    for process in psutil.Process(day._running[worker].pid).children(recursive=True):
        if process.name() == CHILD:
            process.send_signal(kind)


def _await(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise DayFailed(f"not within {PATIENCE_SECONDS:g} s: {what}")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
