"""How the worker in the process of the tests comes to messages: one claim at a time, by whichever thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from celery import Celery

from penstock.broker import envelope
from penstock.broker.claims import new_incarnation
from penstock.broker.keys import FIELD_SEPARATOR, PRIORITY_STEPS
from penstock.broker.scripts import Claimed, Scripts, Source, claim_reply
from penstock.engine.revoking import Revocations
from penstock.testing.reception import HOST, BenchClaims
from penstock.testing.recording import Recording

Arrivals = list[dict[str, Any]]
"""Messages that are to be run now; those that were claimed with them are parked, or put aside."""


class Claiming:
    """Of one test. A claim and what it has brought are one step: no thread takes what another one has claimed."""

    def __init__(
        self, app: Celery, scripts: Scripts, recording: Recording, ahead: Callable[[], float], crash_limit: int
    ) -> None:
        self._app = app
        self._scripts = scripts
        self._client: Any = scripts.client
        self._lock = threading.RLock()
        self.revocations = Revocations()
        self.claims = BenchClaims(
            ahead,
            hostname=HOST,
            keys=scripts.keys,
            settler=recording,
            crash_limit=crash_limit,
            on_revoked=self.revocations.learn,
        )

    def end(self) -> None:
        """Leaves no lease behind."""
        if self.claims.worker:
            self._scripts.retire(self.claims.worker, counted=False, crash_limit=self.claims.crash_limit)

    def queues(self) -> list[str]:
        """Every queue that anything was ever sent to."""
        return sorted(name.decode() for name in self._client.smembers(self._scripts.keys.queues))

    def take_next(self, queues: Sequence[str]) -> Arrivals | None:
        """Claims the first message of these queues; None: there is none."""
        with self._lock:
            return self._arrivals() if self._claim(queues) else None

    def take_job(self, id: str) -> Arrivals | None:
        """Claims the message of this job wherever it stands, due or not; None: there is none."""
        passed: list[str] = []
        with self._lock:
            self.claims.at_once = id
            try:
                while claimed := self._claim(self.queues()):
                    if any(_id(message) == id for message in claimed):
                        return self._arrivals()
                    passed += [message.token for message in claimed]
                    self.claims.arrived()
                return None
            finally:
                self.claims.at_once = ""
                for token in reversed(passed):
                    self.claims.settle(token, "return")

    def _arrivals(self) -> Arrivals:
        return [payload for _, payload in self.claims.arrivals()]

    def _claim(self, queues: Sequence[str]) -> list[Claimed]:
        """One message, which has arrived then, or none."""
        self._have_lease()
        reply = claim_reply(self._scripts.call("claim", *self.claims.next_claim(self._sources(queues), 1)))
        self.claims.receive(reply)
        if reply.revoked_version > self.claims.revoked_version:
            self._learn_revocations()
        return reply.messages

    def _have_lease(self) -> None:
        if not self.claims.worker or not self._scripts.renew(self.claims.worker):
            self.claims.begin(new_incarnation(HOST))
            self._scripts.join(self.claims.worker)

    def _sources(self, queues: Sequence[str]) -> list[Source]:
        """As a worker of these queues: first what others did not know, then by priority."""
        aside = (field.decode().split(FIELD_SEPARATOR) for field in self._client.hvals(self._scripts.keys.unknown))
        forgotten = [Source(queue, int(step), task) for task, queue, step in aside if task in self._app.tasks]
        ready = [Source(queue, step) for step in PRIORITY_STEPS for queue in queues]
        return [source for source in forgotten if source.queue in queues] + ready

    def _learn_revocations(self) -> None:
        keys, first = self._scripts.keys, f"({self.claims.revoked_version}"
        ids = self._client.zrange(keys.revoked, first, "+inf", byscore=True, withscores=True)
        stamps = self._client.zrange(keys.revoked_stamps, first, "+inf", byscore=True, withscores=True)
        self.claims.learn(
            [id.decode() for id, _ in ids],
            [tuple(stamp.decode().split(FIELD_SEPARATOR, 1)) for stamp, _ in stamps],
            int(max((version for _, version in chain(ids, stamps)), default=0)),
        )


def _id(message: Claimed) -> str:
    try:
        return envelope.job_id(envelope.read(message.raw))
    except envelope.Unreadable:
        return ""
