"""What the system says it has: the outcomes in its store, and every message in every key of Redis."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import redis

from tests.faults.judge import Outcome

ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
NOT_A_MESSAGE = (b"celery-task-meta-", b"_kombu.", b"penstock:waiting:", b"penstock:revoked", b"penstock:blocked")
"""Keys that name jobs without holding them."""
ASKED_AT_ONCE = 1000
FINAL = ("SUCCESS", "FAILURE", "REVOKED")
"""Celery's states of a job that has its outcome."""


class Holdings:
    """Reads without the libraries of either side; ``ledger`` is our side's SQLite file."""

    def __init__(self, client: redis.Redis, ledger: Path | None) -> None:
        self._client = client
        self._ledger = ledger

    def outcomes(self, jobs: Collection[str]) -> dict[str, Outcome]:
        """Of those of the jobs that are final in the store."""
        return self._outcomes_in_redis(list(jobs)) if self._ledger is None else self._outcomes_in_ledger(jobs)

    def mentioned(self, jobs: set[str]) -> set[str]:
        """Those of which some key holds the message, whatever its name."""
        sought = {job.encode() for job in jobs}
        return {id.decode() for value in self._values() for id in ID.findall(value) if id in sought}

    def keep(self, message: bytes) -> bool:
        """Whether the message is still somewhere, byte for byte."""
        return any(message in value for value in self._values()) or self._is_in_ledger(message.decode())

    def _outcomes_in_redis(self, jobs: list[str]) -> dict[str, Outcome]:
        found: dict[str, Outcome] = {}
        with suppress(redis.RedisError):
            for start in range(0, len(jobs), ASKED_AT_ONCE):
                some = jobs[start : start + ASKED_AT_ONCE]
                for job, raw in zip(some, self._client.mget([f"celery-task-meta-{job}" for job in some]), strict=True):
                    meta = json.loads(raw) if raw else {}
                    if meta.get("status") in FINAL:
                        done = meta["status"] == "SUCCESS"
                        found[job] = Outcome(done, meta["result"] if done else None)
        return found

    def _outcomes_in_ledger(self, jobs: Collection[str]) -> dict[str, Outcome]:
        rows = self._ask_ledger("SELECT id, state, result FROM jobs WHERE finished_at IS NOT NULL")
        return {
            job: Outcome(state == "succeeded", json.loads(result) if state == "succeeded" and result else None)
            for job, state, result in rows
            if job in jobs
        }

    def _is_in_ledger(self, text: str) -> bool:
        if self._ledger is None:
            return False
        forms = (text, json.dumps(text)[1:-1])
        tables = [name for (name,) in self._ask_ledger("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = (row for table in tables for row in self._ask_ledger(f"SELECT * FROM {table}"))
        return any(form in str(value) for row in rows for value in row for form in forms)

    def _ask_ledger(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self._ledger}?mode=ro", uri=True, timeout=10)) as ledger:
            return ledger.execute(query).fetchall()

    def _values(self) -> Iterator[bytes]:
        """All values of all keys that may hold messages."""
        for key in self._client.scan_iter(count=1000):
            if not key.startswith(NOT_A_MESSAGE):
                yield from self._values_of(key)

    def _values_of(self, key: bytes) -> Any:
        kind = self._client.type(key)
        if kind == b"list":
            return self._client.lrange(key, 0, -1)
        if kind == b"hash":
            return self._client.hvals(key)
        if kind == b"zset":
            return self._client.zrange(key, 0, -1)
        if kind == b"set":
            return self._client.smembers(key)
        value = self._client.get(key)
        return [value] if value else []
