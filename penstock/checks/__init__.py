"""What must be true before anything starts: one sentence with its remedy for each thing that is not."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from sqlalchemy import make_url

from penstock.breaker import Breaker
from penstock.broker.connection import unavailable
from penstock.checks import broker
from penstock.checks.finding import Finding
from penstock.config import Settings
from penstock.errors import BrokerUnavailable, LedgerOutdated, LedgerUnavailable, PenstockError
from penstock.ledger import queries, schema
from penstock.ledger.session import address, reading
from penstock.profile import Profile

logger = logging.getLogger("penstock")
T = TypeVar("T")
PATIENCE = 5.0
"""Seconds within which a server must answer."""
GRACE = 0.5
"""Seconds that a timeout inside a driver gets to come first, because its message says more."""


def require_servers(settings: Settings) -> None:
    """Returns when both servers can be used; both are asked at once, for ``PATIENCE`` seconds.

    What is only worth a warning is logged.

    Raises:
        PenstockError: BrokerUnavailable, LedgerUnavailable or LedgerOutdated; when both servers fail, one
            error with both sentences, so that they are mended in one round.
    """
    redis, tables = _begin(_redis_question(settings)), _begin(_schema_question(settings))
    found = _sound(redis.answer())
    if not isinstance(found, PenstockError):
        _log_warnings(found)
    errors = [answer for answer in (found, tables.answer()) if isinstance(answer, PenstockError)]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise PenstockError("\n".join(["neither server can be used:", *(f"  - {error}" for error in errors)]))


def require_redis(settings: Settings) -> None:
    """Returns when Redis can be used, within ``PATIENCE`` seconds; Celery itself would wait without an end.

    Raises:
        BrokerUnavailable: it does not answer, is too old, takes no jobs or might drop them.
    """
    answer = _sound(_begin(_redis_question(settings)).answer())
    if isinstance(answer, PenstockError):
        raise answer


def check_servers(settings: Settings) -> list[Finding]:
    """Redis and SQL: reachable, new enough, able to keep what they are given, tables in place."""
    redis, ledger = _begin(_redis_question(settings)), _begin(_ledger_question(settings))
    found, ledger_answer = redis.answer(), ledger.answer()
    if isinstance(found, PenstockError):
        unknown = "cannot be read until Redis answers"
        found = [_finding("redis", found), *(Finding(name, False, unknown) for name in ("policy", "persistence"))]
    tables: str | PenstockError = LedgerUnavailable("cannot be read until the ledger answers")
    if isinstance(ledger_answer, str):
        tables = _begin(_schema_question(settings)).answer()
    return [*found, _finding("ledger", ledger_answer), _finding("schema", tables)]


def check_queues(queue_of_task: Mapping[str, str], profiles: Iterable[Profile]) -> Finding:
    """Whether every task's queue is served by some profile."""
    served = {queue for profile in profiles for queue in profile.queues}
    orphans = {task: queue for task, queue in sorted(queue_of_task.items()) if queue not in served}
    if not orphans:
        return Finding("queues", True, f"{len(queue_of_task)} tasks, served on {', '.join(sorted(served))}")
    listed = ", ".join(f"{task} waits on {queue!r}" for task, queue in orphans.items())
    return Finding("queues", False, f"{listed}, which no profile serves; add the queue to workers/profiles.py")


def check_breakers(tasks: Iterable[tuple[str, Breaker, float | None]]) -> list[Finding]:
    """A warning if jobs do not outlast the pauses of their breakers.

    Args:
        tasks: of those with a breaker, the name and after how many seconds a job expires; None: never.
    """
    short = [
        f"{name} pauses for {breaker.pause:g} s and expires after {expires:g} s"
        for name, breaker, expires in sorted(tasks, key=lambda each: each[0])
        if expires is not None and expires <= breaker.pause
    ]
    if not short:
        return []
    text = (
        f"{', '.join(short)}: jobs that are put aside are cancelled; give them a longer expires=, or a shorter pause="
    )
    return [Finding("breakers", True, text, warning=True)]


def found_revision(database_url: str) -> str | None:
    """The revision of the ledger's tables, None when there are none; creates no SQLite file.

    Raises:
        LedgerUnavailable: the database does not answer.
    """
    return schema.revision_of(database_url) if has_file(database_url) else None


def has_file(database_url: str) -> bool:
    """False for a SQLite database whose file does not exist yet; connecting would create it."""
    url = make_url(database_url)
    return url.get_backend_name() != "sqlite" or not url.database or Path(url.database).exists()


@dataclass(frozen=True)
class _Question(Generic[T]):
    ask: Callable[[], T]
    late: PenstockError
    """What it means when no answer comes in time."""


@dataclass(frozen=True)
class _Begun(Generic[T]):
    """A question that is being asked; several at a time, so that the slowest alone sets the time."""

    future: Future[T]
    deadline: float
    late: PenstockError

    def answer(self) -> T | PenstockError:
        try:
            return self.future.result(max(0.0, self.deadline - time.monotonic()))
        except TimeoutError:
            return self.late
        except PenstockError as error:
            return error


def _redis_question(settings: Settings) -> _Question[list[Finding]]:
    late = unavailable(settings.redis_url, TimeoutError("silent"))
    return _Question(lambda: broker.look_at(settings.redis_url, settings.broker_options, PATIENCE), late)


def _ledger_question(settings: Settings) -> _Question[str]:
    return _Question(lambda: _ledger(settings.database_url), _ledger_silent(settings))


def _schema_question(settings: Settings) -> _Question[str]:
    return _Question(lambda: _newest_schema(settings.database_url), _ledger_silent(settings))


def _sound(answer: list[Finding] | PenstockError) -> list[Finding] | PenstockError:
    """The findings on Redis; an error in their place when one of them does not pass."""
    if isinstance(answer, PenstockError):
        return answer
    refusals = [finding.text for finding in answer if not finding.passed]
    return BrokerUnavailable("; ".join(refusals)) if refusals else answer


def _log_warnings(findings: Iterable[Finding]) -> None:
    for finding in findings:
        if finding.warning:
            logger.warning("%s: %s", finding.name, finding.text)


def _ledger(database_url: str) -> str:
    if not has_file(database_url):
        return f"{address(database_url)}, not created yet"
    with reading(database_url) as connection:
        name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[connection.dialect.name]
        return f"{address(database_url)}, {name} {queries.ping(connection)}"


def _newest_schema(database_url: str) -> str:
    newest = schema.newest_revision()
    if not has_file(database_url):
        raise LedgerOutdated(
            f"the ledger at {address(database_url)} has no tables yet, this version needs {newest}; "
            "run `celery -A workers ledger upgrade`"
        )
    schema.require_newest(database_url)
    return f"revision {newest}, the newest"


def _ledger_silent(settings: Settings) -> LedgerUnavailable:
    shown = address(settings.database_url)
    return LedgerUnavailable(f"the ledger at {shown} does not answer (silent); start it or correct DATABASE_URL")


def _finding(name: str, answer: str | PenstockError) -> Finding:
    return Finding(name, isinstance(answer, str), str(answer))


def _begin(question: _Question[T]) -> _Begun[T]:
    """On a daemon thread: a name lookup that hangs obeys no timeout, and must not delay the process's end."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(question.ask())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return _Begun(future, time.monotonic() + PATIENCE + GRACE, question.late)
