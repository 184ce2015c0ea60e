"""The result stores of both sides, read without the libraries of either."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import psycopg
import redis

from tests.faults.fires import Booked
from tests.faults.judge import Outcome
from tests.faults.postgres import Postgres

ASKED_AT_ONCE = 1000
FINAL = ("SUCCESS", "FAILURE", "REVOKED")
"""Celery's states of a job that has its outcome."""
ATTEMPT = re.compile(r'^"([0-9a-f]{12})')
"""What each result begins with; the rest may be long."""
ERROR = re.compile(r'"exc_type": "(\w+)"')
HEAD = 80
"""Characters of a result that are read."""
Ask = Callable[[str], list[tuple[Any, ...]]]
"""One statement's rows."""


class Store(Protocol):
    """What a result store says. One that does not answer says nothing."""

    def outcomes(self, jobs: Collection[str]) -> dict[str, Outcome]:
        """Of those of the jobs that are final."""

    def to_be_sent(self) -> set[str]:
        """Jobs of which it holds a message that is still to be in Redis."""

    def keeps(self, text: str) -> bool:
        """Whether a message that is no job is in it."""

    def scheduled(self) -> set[str]:
        """Schedules whose next planned time it has."""

    def booked(self) -> list[Booked]:
        """What it says of planned times."""


class NoBooks:
    """Of schedules; stock Celery's are in a file of the beat's own."""

    def scheduled(self) -> set[str]:
        """None."""
        return set()

    def booked(self) -> list[Booked]:
        """Nothing."""
        return []


class InRedis(NoBooks):
    """Stock Celery's keys."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def outcomes(self, jobs: Collection[str]) -> dict[str, Outcome]:
        """Of those of the jobs that are final."""
        found: dict[str, Outcome] = {}
        each = list(jobs)
        with suppress(redis.RedisError):
            for start in range(0, len(each), ASKED_AT_ONCE):
                some = each[start : start + ASKED_AT_ONCE]
                for job, raw in zip(some, self._client.mget([f"celery-task-meta-{job}" for job in some]), strict=True):
                    meta = json.loads(raw) if raw else {}
                    if meta.get("status") in FINAL:
                        found[job] = _celerys(meta["status"], json.dumps(meta["result"]))
        return found

    def to_be_sent(self) -> set[str]:
        """None: it sends nothing."""
        return set()

    def keeps(self, text: str) -> bool:
        """No: every key of Redis is looked at elsewhere."""
        return False


class CeleryTables(NoBooks):
    """Stock Celery's table in a database."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def outcomes(self, jobs: Collection[str]) -> dict[str, Outcome]:
        """Of those of the jobs that are final."""
        rows = self._ask(f"SELECT task_id, status, substr(result, 1, {HEAD}) FROM celery_taskmeta")
        return {
            job: _celerys(status, bytes(result or b"").decode())
            for job, status, result in rows
            if job in jobs and status in FINAL
        }

    def to_be_sent(self) -> set[str]:
        """None: it sends nothing."""
        return set()

    def keeps(self, text: str) -> bool:
        """No: it has a row for each job and nothing else."""
        return False


class Ledger:
    """Our tables."""

    def __init__(self, ask: Ask, tables: str) -> None:
        """Args:
        tables: the query that names them.
        """
        self._ask = ask
        self._tables = tables

    def outcomes(self, jobs: Collection[str]) -> dict[str, Outcome]:
        """Of those of the jobs that are final."""
        head = f"substr(CAST(result AS text), 1, {HEAD})"
        rows = self._ask(f"SELECT id, state, {head}, error_type FROM jobs WHERE finished_at IS NOT NULL")
        return {
            job: Outcome(True, _attempt(result)) if state == "succeeded" else Outcome(False, error=_short(error))
            for job, state, result, error in rows
            if job in jobs
        }

    def to_be_sent(self) -> set[str]:
        """Jobs of the outbox."""
        return {job for (job,) in self._ask("SELECT job_id FROM outbox")}

    def keeps(self, text: str) -> bool:
        """Whether some column of some row holds the text, or its bytes, or its JSON form."""
        forms = (text, json.dumps(text)[1:-1])
        rows = (row for (table,) in self._ask(self._tables) for row in self._ask(f"SELECT * FROM {table}"))
        return any(form in str(value) for row in rows for value in row for form in forms)

    def scheduled(self) -> set[str]:
        """Schedules whose next planned time is in a row."""
        return {name for (name,) in self._ask("SELECT name FROM schedules WHERE planned_at IS NOT NULL")}

    def booked(self) -> list[Booked]:
        """The rows of fires."""
        rows = self._ask("SELECT schedule, planned_at, state, reason, job_id, decided_at FROM fires")
        return [
            Booked(schedule, _moment(planned_at), state, reason, job, _moment(decided_at))
            for schedule, planned_at, state, reason, job, decided_at in rows
        ]


def ledger_in_file(path: Path) -> Ledger:
    """Our side's SQLite file."""
    return Ledger(_file(path), "SELECT name FROM sqlite_master WHERE type = 'table'")


def ledger_on_server(server: Postgres) -> Ledger:
    """Our side's tables on PostgreSQL."""
    return Ledger(_server(server), "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")


def celery_in_file(path: Path) -> CeleryTables:
    """The stock side's SQLite file."""
    return CeleryTables(_file(path))


def celery_on_server(server: Postgres) -> CeleryTables:
    """The stock side's table on PostgreSQL."""
    return CeleryTables(_server(server))


def _file(path: Path) -> Ask:
    def ask(query: str) -> list[tuple[Any, ...]]:
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)) as file:
                return file.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []  # Somebody has it for longer; or Celery has no table yet.

    return ask


def _server(server: Postgres) -> Ask:
    def ask(query: str) -> list[tuple[Any, ...]]:
        with suppress(psycopg.Error):
            return server.ask(query)
        return []

    return ask


def _moment(value: datetime | str) -> float:
    """Seconds since 1970. SQLite gives texts, which are in UTC."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _celerys(status: str, result: str) -> Outcome:
    if status == "SUCCESS":
        return Outcome(True, _attempt(result))
    error = ERROR.search(result)
    return Outcome(False, error=error and error.group(1))


def _short(error: str | None) -> str | None:
    return error and error.rpartition(".")[2]


def _attempt(result: str | None) -> str | None:
    """The attempt's name at the beginning of a result, or all of a result that has none."""
    found = ATTEMPT.match(result or "")
    return found.group(1) if found else result
