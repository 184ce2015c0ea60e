"""Everything seen of one side from outside: accepted jobs, effects, deaths, rows in the store, messages that wait."""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import psycopg
import redis

from demo.duel.effects import END, START, WORKER, Effect, Lines
from demo.duel.judge import Attempt, Evidence, attempts_of
from demo.duel.postgres import Postgres
from demo.duel.processes import Deaths
from demo.duel.redis_server import RedisServer

FINAL = {
    "stock": "SELECT task_id FROM celery_taskmeta WHERE status IN ('SUCCESS', 'FAILURE', 'REVOKED')",
    "penstock": "SELECT id FROM jobs WHERE finished_at IS NOT NULL",
}
"""How each side's store is asked for the jobs that it knows to have ended."""
QUEUE, FILLED = "celery", "filled"
"""The queue of the load, and that of the contest at the end."""
FILLED_PREFIX = "f111ed00-"
"""What the ids of the contest's jobs begin with."""
UNACKED = "unacked"
ID = re.compile(rb'"id": ?"([0-9a-f]{8}-[0-9a-f-]{27})"')


class Store:
    """A side's rows, read without the libraries of either."""

    def __init__(self, side: str, server: Postgres) -> None:
        self._server = server
        self._final = FINAL[side]
        self._connection: psycopg.Connection[Any] | None = None

    def final(self) -> set[str] | None:
        """Jobs with a final row; None while it does not answer, or has no table yet."""
        rows = self._ask(self._final)
        return None if rows is None else {str(id) for (id,) in rows}

    def filled(self) -> int:
        """How many jobs of the contest have a final row."""
        rows = self._ask(f"SELECT count(*) FROM ({self._final}) AS f(id) WHERE id LIKE '{FILLED_PREFIX}%'")  # noqa: S608
        return int(rows[0][0]) if rows else 0

    def close(self) -> None:
        """Ends its connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _ask(self, query: str) -> list[tuple[Any, ...]] | None:
        try:
            if self._connection is None:
                self._connection = self._server.connect()
            return self._connection.execute(query.encode()).fetchall()
        except psycopg.Error:
            self.close()
            return None


class Record:
    """Grows with each :meth:`look`; several threads may ask."""

    def __init__(self, side: str, folder: Path, sql: Postgres, server: RedisServer, deaths: Deaths) -> None:
        self.effects_file, self.accepted_file = folder / "effects.jsonl", folder / "accepted.jsonl"
        self._lines = {path: Lines(path) for path in (self.effects_file, self.accepted_file)}
        self._store = Store(side, sql)
        self._client = server.client()
        self._deaths = deaths
        self._effects: list[Effect] = []
        self._accepted: dict[str, float] = {}
        self._recorded: dict[str, float] = {}
        self._waiting: frozenset[str] = frozenset()
        self._left: dict[str, float] = {}
        self._lock = threading.RLock()
        self.portraits: dict[int, dict[str, Any]] = {}
        """What each worker that is ready said of itself, by process id."""
        self.changed = time.monotonic()
        """When the last line or row came."""

    def look(self) -> None:
        """Reads what is new."""
        with self._lock:
            self._read_files()
            self._read_rows()
            self._waiting = frozenset(self._ids(QUEUE) | self._ids(FILLED))
            self._left |= dict.fromkeys(self._waiting, time.monotonic())

    def evidence(self) -> Evidence:
        """What is known so far."""
        with self._lock:
            accepted, recorded = dict(self._accepted), dict(self._recorded)
            deaths, left = self._deaths.all(), dict(self._left)
            return Evidence(accepted, list(self._effects), deaths, recorded, self._waiting, left, time.monotonic())

    def running(self) -> list[Attempt]:
        """The attempts that run at this moment."""
        with self._lock:
            self._read_files()
            evidence = self.evidence()
        return [attempt for each in attempts_of(evidence).values() for attempt in each if attempt.closed is None]

    def is_ready(self, pid: int) -> bool:
        """Whether the worker of this process consumes."""
        with self._lock:
            self._read_files()
            return pid in self.portraits

    def unacknowledged(self) -> set[str]:
        """Jobs in the hash in which stock Celery keeps what its workers hold, or held when they died."""
        try:
            return _ids(self._client.hvals(UNACKED))
        except redis.RedisError:
            return set()

    def close(self) -> None:
        """Ends its connections."""
        self._store.close()
        self._client.close()

    def _read_files(self) -> None:
        for line in self._lines[self.accepted_file].new():
            self._accepted[line["job"]] = line["at"]
        new = [Effect(**line) for line in self._lines[self.effects_file].new()]
        self._effects += [effect for effect in new if effect.kind in (START, END)]
        self.portraits |= {effect.pid: json.loads(effect.portrait) for effect in new if effect.kind == WORKER}
        self._deaths.watch({effect.pid for effect in new})
        if new:
            self.changed = time.monotonic()

    def _read_rows(self) -> None:
        now = time.monotonic()
        fresh = (self._store.final() or set()) - self._recorded.keys()
        self._recorded |= dict.fromkeys(fresh, now)
        if fresh:
            self.changed = now

    def _ids(self, queue: str) -> set[str]:
        with suppress(redis.RedisError):
            return _ids(self._client.lrange(queue, 0, -1))
        return set()


def _ids(messages: Any) -> set[str]:
    return {found.group(1).decode() for raw in messages if (found := ID.search(cast("bytes", raw)))}
