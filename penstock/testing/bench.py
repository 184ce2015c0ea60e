"""A worker in the process of the tests: claims, runs, records, publishes and settles one job after the other.

    claim ──► gate ──► body ──► commit ──► publish ──► settle

The scripts, the start row, Celery's tracer and requests, the fence and the order of commit, publication and settlement
are those of a worker; what a worker does in several processes and in batches is done here by one, at once. So debuggers
stop in bodies, and patches of the test hold in them.
"""

from __future__ import annotations

import secrets
import threading
import time
from asyncio import _get_running_loop
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from itertools import chain
from types import SimpleNamespace
from typing import Any

from celery import Celery, signals
from sqlalchemy import select

from penstock.broker import envelope
from penstock.broker.claims import new_incarnation
from penstock.broker.connection import connect
from penstock.broker.keys import FIELD_SEPARATOR, PRIORITY_STEPS, Keys
from penstock.broker.scripts import SLICE, Claimed, Scripts, Settlement, Source, claim_reply
from penstock.config import Settings
from penstock.engine.comeback import Comebacks
from penstock.engine.gate import Gate
from penstock.engine.keeping.burial import bury_slice
from penstock.engine.keeping.relay import Outflow
from penstock.engine.revoking import Revocations
from penstock.ledger import queries
from penstock.ledger.recorder import Recorder
from penstock.ledger.records import Record, Step, Verdict
from penstock.ledger.session import own_connection, reading, translated
from penstock.ledger.tables import outbox
from penstock.outbox import outgoing
from penstock.testing.attempts import Attempt
from penstock.testing.reception import HOST, BenchClaims, BenchReception


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
        self._revocations = Revocations()
        self._claims = BenchClaims(
            ahead,
            hostname=HOST,
            keys=self.scripts.keys,
            settler=self,
            crash_limit=settings.crash_limit,
            on_revoked=self._revocations.learn,
        )
        self._claiming = threading.RLock()
        self._recorder = Recorder(self._url)
        self._outflow = Outflow(self.scripts)
        self._gate = Gate(self, self._claims, Comebacks())
        self._answers: ContextVar[list[tuple[str, Verdict | None]]] = ContextVar("penstock_answers")
        self.attempts: list[Attempt] = []
        self.cancelled: list[str] = []
        self._follows: ContextVar[bool] = ContextVar("penstock_follows", default=False)
        self._reception = BenchReception(self, self._claims, self._revocations)
        signals.task_failure.connect(self._on_failure, weak=False)
        signals.task_retry.connect(self._on_retry, weak=False)
        signals.task_revoked.connect(self._on_revoked, weak=False)

    def end(self) -> None:
        """Leaves nothing behind."""
        signals.task_failure.disconnect(self._on_failure)
        signals.task_retry.disconnect(self._on_retry)
        signals.task_revoked.disconnect(self._on_revoked)
        if self._claims.worker:
            self.scripts.retire(self._claims.worker, counted=False, crash_limit=self._claims.crash_limit)
        self._client.close()

    # -- claiming -------------------------------------------------------------------------------------------------

    def queues(self) -> list[str]:
        """Every queue that anything was ever sent to."""
        return sorted(name.decode() for name in self._client.smembers(self.scripts.keys.queues))

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

    def run_next(self, queues: Sequence[str]) -> bool:
        """Claims the first message of these queues and does with it what a worker does; False: there is none."""
        if (claimed := self._claim(queues)) is None:
            return False
        self._work()
        bury_slice(self.scripts, self._url)
        return bool(claimed)

    def run_job(self, id: str) -> bool:
        """Claims the message of this job wherever it stands, due or not, and runs it; False: there is none."""
        passed: list[str] = []
        try:
            while (claimed := self._claim(self.queues())) is not None:
                if not claimed or _id(claimed[0]) == id:
                    self._claims.at_once.add(id)
                    self._work()
                    return bool(claimed)
                passed += [message.token for message in claimed]
                self._claims.arrived()
            return False
        finally:
            self._claims.at_once.discard(id)
            for token in reversed(passed):
                self._claims.settle(token, "return")

    def _claim(self, queues: Sequence[str]) -> list[Claimed] | None:
        """One message, which has arrived then; None: there is none."""
        with self._claiming:
            self._have_lease()
            reply = claim_reply(self.scripts.call("claim", *self._claims.next_claim(self._sources(queues), 1)))
            self._claims.receive(reply)
            if reply.revoked_version > self._claims.revoked_version:
                self._learn_revocations()
            return reply.messages or None

    def _have_lease(self) -> None:
        if not self._claims.worker or not self.scripts.renew(self._claims.worker):
            self._claims.begin(new_incarnation(HOST))
            self.scripts.join(self._claims.worker)

    def _sources(self, queues: Sequence[str]) -> list[Source]:
        """As a worker of these queues: first what others did not know, then by priority."""
        aside = (field.decode().split(FIELD_SEPARATOR) for field in self._client.hvals(self.scripts.keys.unknown))
        forgotten = [Source(queue, int(step), task) for task, queue, step in aside if task in self.app.tasks]
        ready = [Source(queue, step) for step in PRIORITY_STEPS for queue in queues]
        return [source for source in forgotten if source.queue in queues] + ready

    def _learn_revocations(self) -> None:
        keys, first = self.scripts.keys, f"({self._claims.revoked_version}"
        ids = self._client.zrange(keys.revoked, first, "+inf", byscore=True, withscores=True)
        stamps = self._client.zrange(keys.revoked_stamps, first, "+inf", byscore=True, withscores=True)
        self._claims.learn(
            [id.decode() for id, _ in ids],
            [tuple(stamp.decode().split(FIELD_SEPARATOR, 1)) for stamp, _ in stamps],
            int(max((version for _, version in chain(ids, stamps)), default=0)),
        )

    def _work(self) -> None:
        """Runs what has arrived and is due; the rest is parked."""
        with self._claiming:
            arrivals = list(self._claims.arrivals())
        for _, payload in arrivals:
            message = self._reception.message(_as_job(payload))
            is_known = payload["headers"].get("task") in self.app.tasks
            self._answers.set([])  # Of this message alone: another thread may ask at this moment.
            if not is_known or not self._gate.holds_up(message, self._receive):
                self._receive(message)
                continue
            self._gate.open(self._answers.get())

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

    # -- as the keeper of what runs here --------------------------------------------------------------------------

    def ask(self, record: Record, is_doubtful: bool) -> None:
        """Whether a delivery may start, which the ledger says at once."""
        assert record.delivery.token is not None
        self._answers.get().append((record.delivery.token, self._recorder.write([record]).verdicts[0]))

    def write(self, records: Sequence[Record]) -> None:
        """Commits the end of a job, and publishes what follows from it."""
        if not records:
            return
        written = self._recorder.write(records)
        if written.messages:
            with self.following():
                self.scripts.publish_outbox(
                    [outgoing(message, secrets.token_urlsafe(8)) for message in written.messages]
                )
        ended = [
            (record.delivery.id, record.outcome.state.value)
            for record, verdict in zip(records, written.verdicts, strict=True)
            if verdict is Verdict.WON and record.outcome is not None and record.outcome.state.is_final
        ]
        self.scripts.announce(ended)

    @property
    def is_following(self) -> bool:
        """Whether what is sent at this moment follows from something else, and is run after that."""
        return self._follows.get()

    @contextmanager
    def following(self) -> Iterator[None]:
        """What is sent inside of the block follows from something else."""
        mark = self._follows.set(True)
        try:
            yield
        finally:
            self._follows.reset(mark)

    def record(self, record: Record) -> None:
        """Of a message that was put aside."""
        self.write([record])

    def settle(self, settlement: Settlement) -> None:
        """Ends a claim."""
        self.scripts.settle([settlement])

    def unindex(self, jobs: list[tuple[str, str]]) -> None:
        """They wait no more."""
        self.scripts.unindex(jobs)

    # -- what became of it ----------------------------------------------------------------------------------------

    def note(self, attempt: Attempt, records: Sequence[Record]) -> None:
        """Takes in how an attempt has ended, as the ledger has it."""
        for record in records:
            if record.delivery.id == attempt.id and record.step is Step.END and record.outcome is not None:
                attempt.state = record.outcome.state

    def _under_way(self, id: Any) -> Attempt | None:
        return next((attempt for attempt in reversed(self.attempts) if attempt.id == id), None)

    def _on_failure(self, task_id: Any = None, exception: Any = None, **_: Any) -> None:
        if (attempt := self._under_way(task_id)) is not None:
            attempt.error = exception

    def _on_retry(self, request: Any = None, reason: Any = None, **_: Any) -> None:
        if (attempt := self._under_way(getattr(request, "id", None))) is not None:
            attempt.error = getattr(reason, "exc", None) or reason
            attempt.pause = self._seconds_until(getattr(reason, "when", None))

    def _seconds_until(self, when: Any) -> float | None:
        """Of what Celery tells of a retry: seconds from now, or a time."""
        if isinstance(when, datetime):
            aware = when if when.tzinfo else when.replace(tzinfo=UTC)
            return max(aware.timestamp() - time.time() - self._ahead(), 0.0)
        return float(when) if isinstance(when, (int, float)) else None

    def _on_revoked(self, request: Any = None, **_: Any) -> None:
        self.cancelled.append(str(getattr(request, "id", "")))


def _as_job(payload: dict[str, Any]) -> Any:
    """A claimed message as :meth:`Reception.message` takes it."""
    token = payload["properties"]["delivery_tag"]
    return SimpleNamespace(payload=payload, headers=payload["headers"], token=token)


def _id(message: Claimed) -> str:
    try:
        return envelope.job_id(envelope.read(message.raw))
    except envelope.Unreadable:
        return ""
