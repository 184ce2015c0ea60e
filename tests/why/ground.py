"""A deployment on which each reason is brought about in turn: one worker with one child, its Redis, its ledger."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from penstock import Job
from penstock.app import PenstockApp
from penstock.broker.keys import Keys
from penstock.ledger.session import close_all, writing
from penstock.why.reason import Why
from tests import jobs
from tests.live import Worker, wait_for

LEASE_SECONDS = 6
AGO = re.compile(r"\b\d+[smh] ago\b")


@dataclass
class Ground:
    """Short ways to bring a reason about, and to ask."""

    app: PenstockApp
    folder: Path
    environment: dict[str, str]

    def __post_init__(self) -> None:
        self.redis: Any = redis.Redis.from_url(self.app.settings.redis_url)
        self.keys = Keys()
        self._gates = 0

    def why(self, id: str) -> Why:
        """What the client says."""
        return Job[Any](id, "unknown").why()

    def told(self, id: str) -> str:
        """The sentence; what happened a moment ago is told as happened now, however slow the machine is."""
        return AGO.sub("now", self.why(id).sentence)

    def becomes(self, id: str, name: str) -> Why:
        """Waits until this is the reason."""
        asked: Callable[[], Why | None] = lambda: found if name in (found := self.why(id)).names else None  # noqa: E731
        try:
            return wait_for(asked, f"{name} is the reason", 30)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.told(id)}") from None

    def hold(self) -> tuple[str, Path]:
        """A job that runs until its file is there."""
        self._gates += 1
        gate = self.folder / f"gate-{self._gates}"
        id = str(self.app.send_task("tests.progressing", (str(gate),)).id)
        self.becomes(id, "runs")
        return id, gate

    def in_transaction(self, queue: str = "default") -> str:
        """A job of a transaction that has committed."""
        engine = create_engine(self.app.settings.database_url)
        with Session(engine) as session:
            id = jobs.add.options(session=session, queue=queue).enqueue(1, 2).id
            session.commit()
        engine.dispose()
        return id

    def send_unreadable(self) -> str:
        """A job whose message has a body that nobody can decode."""
        id = jobs.echo.options(queue="draft").enqueue(1).id
        message = json.loads(self.redis.rpop("draft"))
        self.redis.delete(self.keys.waiting("draft"))
        message["properties"]["body_encoding"] = "base64"
        message["body"] = "no base64"
        self.redis.lpush("default", json.dumps(message))
        return id

    @contextmanager
    def ledger_away(self) -> Iterator[None]:
        """Nobody can read or write jobs, as when a migration went wrong: SQLite has no other way to be away at once."""
        self._rename("jobs", "jobs_away")
        try:
            yield
        finally:
            self._rename("jobs_away", "jobs")

    def _rename(self, old: str, new: str) -> None:
        with writing(self.app.settings.database_url) as connection:
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))
        close_all()

    @contextmanager
    def worker(self, *options: str, **variables: str) -> Iterator[Worker]:
        """A worker of one child."""
        environment = {**self.environment, **variables}
        with Worker(environment, self.folder / "worker.log", "-Q", "default", *options, children=1) as running:
            yield running


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Processes that stand still inside of the block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
