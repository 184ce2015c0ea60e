"""What must be true before anything starts: one sentence with its remedy for each thing that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import kombu
from kombu.utils.url import maybe_sanitize_url
from redis.exceptions import RedisError

from penstock.config import Settings
from penstock.errors import BrokerUnavailable, PenstockError
from penstock.ledger import queries, schema
from penstock.ledger.session import address, reading
from penstock.profile import Profile
from penstock.scheduler.schedule import Schedule

PATIENCE = 5.0
OLDEST_REDIS = (7, 0)


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    name: str
    passed: bool
    text: str


def require_servers(settings: Settings) -> None:
    """Raises BrokerUnavailable, LedgerUnavailable or LedgerOutdated unless both servers can be used."""
    redis_version(settings)
    schema.require_newest(settings.database_url)


def redis_version(settings: Settings) -> str:
    """The version of the Redis (or Valkey) server, as proof that it answers.

    Raises:
        BrokerUnavailable: it does not, or refuses the password.
    """
    shown = maybe_sanitize_url(settings.redis_url)
    options = {"socket_connect_timeout": PATIENCE, "socket_timeout": PATIENCE}
    try:
        with kombu.Connection(settings.redis_url, transport_options=options) as connection:
            info = connection.default_channel.client.info("server")
    except (kombu.exceptions.OperationalError, RedisError, OSError) as error:
        raise BrokerUnavailable(f"Redis at {shown} does not answer ({error}); start it or correct REDIS_URL") from error
    return str(info["redis_version"])


def check_servers(settings: Settings) -> Iterator[Finding]:
    """Redis and SQL: reachable, new enough, tables in place."""
    yield _tried("redis", lambda: _redis_finding(settings))
    yield _tried("ledger", lambda: _ledger_finding(settings))
    yield _tried("schema", lambda: _schema_finding(settings))


def _redis_finding(settings: Settings) -> str:
    version = redis_version(settings)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        raise BrokerUnavailable(f"version {version} is too old; use Redis 7.0 or newer, or Valkey 8 or newer")
    return f"{maybe_sanitize_url(settings.redis_url)}, version {version}"


def _ledger_finding(settings: Settings) -> str:
    with reading(settings.database_url) as connection:
        return f"{address(settings.database_url)}, version {queries.ping(connection)}"


def _schema_finding(settings: Settings) -> str:
    schema.require_newest(settings.database_url)
    return f"revision {schema.newest_revision()}, the newest"


def _tried(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, look())
    except PenstockError as error:
        return Finding(name, False, str(error))


def check_queues(queue_of_task: dict[str, str], profiles: Iterable[Profile]) -> Finding:
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
    return Finding("schedules", not problems, "; ".join(problems) or f"{len(schedules)}, each fits its task")
