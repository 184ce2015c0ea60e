"""A worker in the process of the tests: claims, runs, records, publishes and settles one job after the other.

    claim ──► gate ──► body ──► commit ──► publish ──► settle

The scripts, the start row, Celery's tracer and requests, the fence and the order of commit, publication and settlement
are those of a worker; what a worker does in several processes and in batches is done here by one, at once. So debuggers
stop in bodies, and patches of the test hold in them.
"""

from __future__ import annotations

import time
from asyncio import _get_running_loop
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from celery import Celery
from sqlalchemy import select

from penstock.broker.connection import connect
from penstock.broker.keys import FIELD_SEPARATOR, PRIORITY_STEPS, Keys
from penstock.broker.scripts import SLICE, Scripts
from penstock.config import Settings
from penstock.engine.comeback import Comebacks
from penstock.engine.gate import Gate
from penstock.engine.keeping.burial import bury_slice
from penstock.engine.keeping.relay import Outflow
from penstock.ledger import queries
from penstock.ledger.session import own_connection, reading, translated
from penstock.ledger.tables import outbox
from penstock.testing.claiming import Arrivals, Claiming
from penstock.testing.noting import Notes
from penstock.testing.reception import BenchReception
from penstock.testing.recording import Recording


class Bench:
    """Of one test. Jobs may be run inside of jobs: an inline body that enqueues waits for what it has enqueued."""

    def __init__(self, app: Celery, settings: Settings, ahead: Callable[[], float]) -> None:
        """Args:
        ahead: by how many seconds the test's clock is ahead of the real one.
        """
        self.app = app
        self._url = settings.database_url
        self._ahead = ahead
        options = settings.broker_options
        self._client: Any = connect(settings.redis_url, options, name="testing")
        self.scripts = Scripts(self._client, Keys(options.get("global_keyprefix") or ""))
        self.recording = Recording(self.scripts, self._url)
        self._claiming = Claiming(app, self.scripts, self.recording, ahead, settings.crash_limit)
        self._claims = self._claiming.claims
        self._outflow = Outflow(self.scripts)
        self._gate = Gate(self.recording, self._claims, Comebacks())
        self.notes = Notes(ahead)
        self._reception = BenchReception(
            app, self._claims, self.recording, self.notes, revocations=self._claiming.revocations
        )

    def end(self) -> None:
        """Leaves nothing behind."""
        self.notes.end()
        self._claiming.end()
        self._client.close()

    # -- what waits -----------------------------------------------------------------------------------------------

    def queues(self) -> list[str]:
        """Every queue that anything was ever sent to."""
        return self._claiming.queues()

    def count_ready(self, queue: str) -> int:
        """Messages of a queue that may be claimed at once."""
        return sum(int(self._client.llen(self.scripts.keys.ready(queue, step))) for step in PRIORITY_STEPS)

    @property
    def is_on_sqlite(self) -> bool:
        """Whether the ledger has one writer at a time."""
        return self._url.startswith("sqlite")

    @property
    def ledger(self) -> str:
        """Address of the ledger."""
        return self._url

    def next_parked(self, after: datetime | None) -> datetime | None:
        """When the next parked job is due, of those that are due later than ``after``."""
        lowest = f"({int(after.timestamp() * 1000)}" if after else "-inf"
        found = [
            score
            for queue in self.queues()
            for _, score in self._client.zrange(
                self.scripts.keys.parked(queue), lowest, "+inf", byscore=True, offset=0, num=1, withscores=True
            )
        ]
        return datetime.fromtimestamp(min(found) / 1000, UTC) if found else None

    def fetch(self, *, everything: bool = False) -> None:
        """Brings to their queues what transactions have committed, and what is due by the test's clock.

        Args:
            everything: due or not.
        """
        self._relay()
        self.promote(everything=everything)

    def _relay(self) -> None:
        """Looks first: on SQLite a transaction of the test's that is open would keep this from writing."""
        with reading(self._url) as eyes:
            if eyes.execute(select(outbox.c.key).where(outbox.c.published_at.is_(None)).limit(1)).first() is None:
                return
        with translated(self._url), closing(own_connection(self._url)) as connection:
            while self._outflow.publish(connection):
                pass

    def promote(self, *, everything: bool = False) -> None:
        """Brings to their queues what is due."""
        horizon = "+inf" if everything else str(int((time.time() + self._ahead()) * 1000))
        if queues := self.queues():
            while int(self.scripts.call("promote", SLICE, horizon, *queues)[0]):
                pass

    # -- running --------------------------------------------------------------------------------------------------

    def run_next(self, queues: Sequence[str]) -> bool:
        """Claims the first message of these queues and does with it what a worker does; False: there is none."""
        if (arrivals := self._claiming.take_next(queues)) is None:
            return False
        self._work(arrivals)
        bury_slice(self.scripts, self._url)
        return True

    def run_job(self, id: str) -> bool:
        """Claims the message of this job wherever it stands, due or not, and runs it; False: there is none."""
        if (arrivals := self._claiming.take_job(id)) is None:
            return False
        self._work(arrivals)
        return True

    def _work(self, arrivals: Arrivals) -> None:
        for payload in arrivals:
            message = self._reception.message(_as_job(payload))
            is_known = payload["headers"].get("task") in self.app.tasks
            with self.recording.asking() as answers:
                if not is_known or not self._gate.holds_up(message, self._receive):
                    self._receive(message)
                    continue
                self._gate.open(answers)

    def _receive(self, message: Any) -> None:
        """Runs a job; where a loop runs already, in a thread, for a coroutine needs one of its own."""
        if _get_running_loop() is None:
            self._reception.receive(message)
            return
        with ThreadPoolExecutor(1) as beside:
            beside.submit(copy_context().run, self._reception.receive, message).result()

    # -- after somebody has died ----------------------------------------------------------------------------------

    def bury_workers(self) -> None:
        """Takes back what all other workers hold, who are dead: at once what a lease later is done by a keeper."""
        for lease in self._client.zrange(self.scripts.keys.leases, 0, -1):
            if (worker := lease.decode()) != self._claims.worker:
                self.scripts.retire(worker, counted=True, crash_limit=self._claims.crash_limit)

    def put_back_lost(self) -> None:
        """Has those messages of the outbox published again that were committed and did not get to Redis."""
        compared = -1
        with translated(self._url), closing(own_connection(self._url)) as connection:
            while compared:
                compared, _ = self._outflow.put_back_lost(connection, max(compared, 0), seconds=0.0)

    def is_quiet(self) -> bool:
        """Whether nothing is due, nothing is claimed, and no transaction has left anything to be published."""
        with reading(self._url) as eyes:
            if eyes.execute(select(outbox.c.key).where(outbox.c.published_at.is_(None)).limit(1)).first() is not None:
                return False
        return not any(map(self.count_ready, self.queues())) and not self._count_claimed()

    def _count_claimed(self) -> int:
        """By all workers that live."""
        keys = self.scripts.keys
        fields = [
            field.decode().removeprefix("held:").split(FIELD_SEPARATOR)
            for lease in self._client.zrange(keys.leases, 0, -1)
            for field in self._client.hkeys(keys.worker(lease.decode()))
            if field.startswith(b"held:")
        ]
        return sum(int(self._client.hlen(keys.inflight(claimer, queue))) for claimer, queue in fields)

    def is_done_with(self, id: str) -> bool:
        """Whether a job's end is in the ledger."""
        with reading(self._url) as eyes:
            row = queries.find_job(eyes, id)
        return row is not None and row.state.is_final


def _as_job(payload: dict[str, Any]) -> Any:
    """A claimed message as :meth:`Reception.message` takes it."""
    token = payload["properties"]["delivery_tag"]
    return SimpleNamespace(payload=payload, headers=payload["headers"], token=token)
