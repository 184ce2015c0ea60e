"""What must be true before anything starts: one sentence with its remedy for each thing that is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kombu
from kombu.utils.url import maybe_sanitize_url
from redis.exceptions import RedisError
from sqlalchemy import make_url

from penstock.config import Settings
from penstock.errors import BrokerUnavailable, LedgerOutdated, LedgerUnavailable, PenstockError
from penstock.ledger import queries, schema
from penstock.ledger.session import address, reading
from penstock.profile import Profile
from penstock.scheduler.schedule import Schedule

PATIENCE = 5.0
"""Seconds within which a server must answer."""
GRACE = 0.5
"""Seconds that a timeout inside a driver gets to come first, because its message says more."""
OLDEST_REDIS = (7, 0)


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    name: str
    passed: bool
    text: str


def require_servers(settings: Settings) -> None:
    """Returns when both servers can be used; both are asked at once, for ``PATIENCE`` seconds.

    Raises:
        PenstockError: BrokerUnavailable, LedgerUnavailable or LedgerOutdated; when both servers fail, one
            error with both sentences, so that they are mended in one round.
    """
    answers = _ask([_redis_question(settings), _schema_question(settings)])
    errors = [answer for answer in answers if isinstance(answer, PenstockError)]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise PenstockError("\n".join(["neither server can be used:", *(f"  - {error}" for error in errors)]))


def require_redis(settings: Settings) -> None:
    """Returns when Redis answers, within ``PATIENCE`` seconds; Celery itself would wait without an end.

    Raises:
        BrokerUnavailable: it does not, or it is too old.
    """
    (answer,) = _ask([_redis_question(settings)])
    if isinstance(answer, PenstockError):
        raise answer


def check_servers(settings: Settings) -> list[Finding]:
    """Redis and SQL: reachable, new enough, tables in place."""
    redis, ledger = _ask([_redis_question(settings), _ledger_question(settings)])
    schema_answer: str | PenstockError = LedgerUnavailable("cannot be read until the ledger answers")
    if isinstance(ledger, str):
        (schema_answer,) = _ask([_schema_question(settings)])
    return [_finding("redis", redis), _finding("ledger", ledger), _finding("schema", schema_answer)]


def check_queues(queue_of_task: Mapping[str, str], profiles: Iterable[Profile]) -> Finding:
    """Whether every task's queue is served by some profile."""
    served = {queue for profile in profiles for queue in profile.queues}
    orphans = {task: queue for task, queue in sorted(queue_of_task.items()) if queue not in served}
    if not orphans:
        return Finding("queues", True, f"{len(queue_of_task)} tasks, served on {', '.join(sorted(served))}")
    listed = ", ".join(f"{task} waits on {queue!r}" for task, queue in orphans.items())
    return Finding("queues", False, f"{listed}, which no profile serves; add the queue to workers/profiles.py")


def check_schedules(schedules: Iterable[Schedule]) -> Finding:
    """Whether every schedule's arguments fit its task."""
    schedules = list(schedules)
    problems = [problem for schedule in schedules if (problem := schedule.problem())]
    if problems:
        return Finding("schedules", False, f"{'; '.join(problems)}; correct it in schedules/")
    return Finding("schedules", True, f"{len(schedules)}, each fits its task")


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
class _Question:
    ask: Callable[[], str]
    late: PenstockError
    """What it means when no answer comes in time."""


def _redis_question(settings: Settings) -> _Question:
    return _Question(lambda: _redis(settings), _redis_unavailable(settings, "silent"))


def _ledger_question(settings: Settings) -> _Question:
    return _Question(lambda: _ledger(settings.database_url), _ledger_silent(settings))


def _schema_question(settings: Settings) -> _Question:
    return _Question(lambda: _newest_schema(settings.database_url), _ledger_silent(settings))


def _redis(settings: Settings) -> str:
    # Without max_retries kombu goes on trying for longer than anybody waits.
    options = {"socket_connect_timeout": PATIENCE, "socket_timeout": PATIENCE, "max_retries": 0}
    try:
        with kombu.Connection(settings.redis_url, transport_options=options) as connection:
            channel: Any = connection.default_channel
            info = channel.client.info("server")
    except (kombu.exceptions.OperationalError, RedisError, OSError) as error:
        raise _redis_unavailable(settings, str(error)) from error
    version = str(info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        raise BrokerUnavailable(
            f"Redis at {_redis_address(settings)} has version {version}; use Redis 7.0 or newer, or Valkey 8"
        )
    # Valkey reports the version of Redis that it is compatible with, and its own beside it.
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {version}"
    return f"{_redis_address(settings)}, {name}"


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


def _redis_unavailable(settings: Settings, cause: str) -> BrokerUnavailable:
    shown = _redis_address(settings)
    return BrokerUnavailable(f"Redis at {shown} does not answer ({cause.rstrip('.')}); start it or correct REDIS_URL")


def _ledger_silent(settings: Settings) -> LedgerUnavailable:
    shown = address(settings.database_url)
    return LedgerUnavailable(f"the ledger at {shown} does not answer (silent); start it or correct DATABASE_URL")


def _redis_address(settings: Settings) -> str:
    return str(maybe_sanitize_url(settings.redis_url))


def _finding(name: str, answer: str | PenstockError) -> Finding:
    return Finding(name, isinstance(answer, str), str(answer))


def _ask(questions: list[_Question]) -> list[str | PenstockError]:
    """Asks all at once, so that the slowest alone sets the time."""
    deadline = time.monotonic() + PATIENCE + GRACE
    begun = [(_begin(question.ask), question.late) for question in questions]
    return [_answer(future, deadline, late) for future, late in begun]


def _begin(ask: Callable[[], str]) -> Future[str]:
    """On a daemon thread: a name lookup that hangs obeys no timeout, and must not delay the process's end."""
    future: Future[str] = Future()

    def run() -> None:
        try:
            future.set_result(ask())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _answer(future: Future[str], deadline: float, late: PenstockError) -> str | PenstockError:
    try:
        return future.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        return late
    except PenstockError as error:
        return error
