"""The connection to Redis: kombu's addresses, times that end, and errors that say what to do about them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import kombu
import redis
from kombu.utils.imports import symbol_by_name
from kombu.utils.url import sanitize_url, url_to_parts
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError, TimeoutError
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from penstock.errors import BrokerUnavailable, SettingsError

T = TypeVar("T")
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 3.0
"""How long Redis may take to accept a connection, and to answer a command."""
IDLE_SECONDS = 25
"""After so long without a command, a connection is asked whether it still lives before it is used."""
REDIS_PORT, SENTINEL_PORT = 6379, 26379
KOMBU_OPTIONS = ("socket_keepalive", "socket_keepalive_options", "health_check_interval", "max_connections")
"""Of kombu's transport options, those that redis-py knows under the same name and that need no thought."""

MASTER_REMEDY = "name the master in REDIS_URL, or the Sentinels that know it (sentinel://)"
CLUSTER_REMEDY = "name a Redis that is not part of a cluster in REDIS_URL; Sentinel gives it a failover"
REFUSALS = {
    "OOM": ("is full and takes no new jobs", "let workers empty the queues, or raise its maxmemory"),
    "MISCONF": ("cannot write to its disk and takes no new jobs", "make room there; its log says more"),
    "NOREPLICAS": ("has too few replicas to take jobs", "bring them back, or lower min-replicas-to-write"),
    "READONLY": ("is a replica, which takes no jobs", MASTER_REMEDY),
    "MASTERDOWN": ("is a replica that has lost its master", MASTER_REMEDY),
    "UNBLOCKED": ("has just become a replica", MASTER_REMEDY),
    "LOADING": ("is still loading its data", "repeat when it has; its log tells how far it is"),
    "BUSY": ("is held up by somebody's script", "repeat later, or end that with SCRIPT KILL"),
    "NOAUTH": ("wants a password", "write it in REDIS_URL, as in redis://:password@host:6379/0"),
    "WRONGPASS": ("does not know this user and password", "correct them in REDIS_URL"),
    "NOPERM": ("does not allow this user that command", "widen the user's ACL rule, or name another user in REDIS_URL"),
    "MOVED": ("is part of a cluster", CLUSTER_REMEDY),
    "CROSSSLOT": ("is part of a cluster", CLUSTER_REMEDY),
    "CLUSTERDOWN": ("is part of a cluster", CLUSTER_REMEDY),
}
"""What Redis means by the first word of an error, and the remedy."""


def connect(
    url: str,
    options: Mapping[str, Any] | None = None,
    *,
    name: str = "penstock",
    connect_seconds: float | None = None,
    answer_seconds: float | None = None,
    wait: float = 0.0,
    retries: int = 1,
) -> redis.Redis:
    """A client that opens its connections when they are used, may be used by all threads, and decodes nothing.

    A command that found its connection lost is tried again on a new one, so only send what may be repeated, or set
    ``retries=0``. Nothing is tried again once ``connect_seconds`` are over: a Redis that is silent costs a caller
    these seconds, and ``answer_seconds + wait`` for each try that got a connection. A silent Sentinel costs as much
    once more, or what the options' ``sentinel_kwargs`` allow it.

    Args:
        url: in kombu's spelling; redis://, rediss://, redis+socket:// or several sentinel:// with ``;`` between.
        options: kombu's transport options; ``master_name`` is required with sentinel://. Those that kombu alone
            understands are passed over.
        name: what `CLIENT LIST` shows.
        connect_seconds: for a connection; instead of the options' ``socket_connect_timeout``, or 5.
        answer_seconds: for an answer; instead of the options' ``socket_timeout``, or 3.
        wait: seconds that a blocking command (BLPOP, BLMOVE) is told to wait; its answer may come so much later.
        retries: how often a command is tried again.

    Raises:
        SettingsError: sentinel:// without ``master_name``.
    """
    options = options or {}
    patience = connect_seconds or options.get("socket_connect_timeout") or CONNECT_SECONDS
    answer = answer_seconds or options.get("socket_timeout") or ANSWER_SECONDS
    common: dict[str, Any] = {
        "socket_connect_timeout": patience,
        "socket_timeout": answer,
        # RESP3's handshake and the driver's introduction are four more round trips, for nothing that is used here.
        "protocol": 2,
        "driver_info": None,
    }
    connection = {
        **common,
        "socket_timeout": answer + wait,
        "retry": _Retry(retries, patience),
        "client_name": name,
        "health_check_interval": IDLE_SECONDS,
        **{key: options[key] for key in KOMBU_OPTIONS if options.get(key) is not None},
    }
    address = kombu.Connection(url)
    if address.transport_cls == "sentinel":
        return _through_sentinels(url, address, options, to_sentinels=common, to_master=connection)
    return redis.Redis.from_pool(redis.ConnectionPool(**_place(address), **connection))


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turns the errors of redis-py inside into sentences.

    Raises:
        BrokerUnavailable: Redis did not do what it was asked, or nobody knows whether it did.
    """
    try:
        yield
    except (RedisError, OSError) as error:
        raise unavailable(url, error) from error


def unavailable(url: str, error: Exception) -> BrokerUnavailable:
    """The error in a sentence with its remedy."""
    says, remedy = _explained(error)
    return BrokerUnavailable(f"Redis at {shown(url)} {says}; {remedy}")


def shown(url: str) -> str:
    """The address without its passwords."""
    return ";".join(sanitize_url(part) for part in url.split(";"))


class _Retry(Retry):
    """Tries again at once, unless the time is up.

    redis-py retries in two layers, connecting and commanding, which multiply; the time bounds both.
    """

    def __init__(self, retries: int, patience: float) -> None:
        super().__init__(NoBackoff(), retries)
        self._patience = patience

    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        deadline = time.monotonic() + self._patience

        def in_time(error: Exception) -> bool:
            return time.monotonic() < deadline and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, fail, in_time, with_failure_count)


def _place(address: kombu.Connection) -> dict[str, Any]:
    """Where the server is and who we are there, as redis-py's pool wants to know it."""
    host = address.hostname or "127.0.0.1"
    if "://" in host:
        # kombu leaves redis+socket:// as it is, and parses it when it connects.
        parts = url_to_parts(host)
        return {
            "connection_class": redis.UnixDomainSocketConnection,
            "path": f"/{parts.path}",
            "db": _database(parts.query.get("virtual_host")),
            **_identity(parts.username, parts.password, parts.query.get("credential_provider")),
        }
    place = {"host": host, "port": address.port or REDIS_PORT, **_database_and_identity(address)}
    return {**place, "connection_class": redis.SSLConnection, **address.ssl} if address.ssl else place


def _database_and_identity(address: kombu.Connection) -> dict[str, Any]:
    return {
        "db": _database(address.virtual_host),
        **_identity(address.userid, address.password, address.credential_provider),
    }


def _identity(user: str | None, password: str | None, provider: str | None) -> dict[str, Any]:
    """Who we are; a provider, named by its class, hands out passwords that expire."""
    return {"credential_provider": symbol_by_name(provider)()} if provider else {"username": user, "password": password}


def _database(virtual_host: str | None) -> int:
    return int((virtual_host or "").strip("/") or 0)


def _through_sentinels(
    url: str,
    address: kombu.Connection,
    options: Mapping[str, Any],
    *,
    to_sentinels: dict[str, Any],
    to_master: dict[str, Any],
) -> redis.Redis:
    """A client of whichever server the Sentinels call the master when a connection is opened."""
    master = options.get("master_name")
    if not master:
        raise SettingsError(["PENSTOCK_SENTINEL_MASTER: is not set; a sentinel:// address needs the master's name"])
    nodes = [url_to_parts(part) for part in url.split(";")]
    sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
        [(node.hostname or "127.0.0.1", node.port or SENTINEL_PORT) for node in nodes],
        min_other_sentinels=options.get("min_other_sentinels") or 0,
        # A Sentinel that is down is passed over at once: the next one knows as much.
        sentinel_kwargs={**to_sentinels, "retry": Retry(NoBackoff(), 0), **(options.get("sentinel_kwargs") or {})},
    )
    secure = {"ssl": True, **address.ssl} if address.ssl else {}
    client: redis.Redis = sentinels.master_for(master, **secure, **_database_and_identity(address), **to_master)
    return client


def _explained(error: Exception) -> tuple[str, str]:
    """What is the matter with Redis, and what to do about it."""
    text = str(error).strip().rstrip(".") or type(error).__name__
    # redis-py takes the first word off the errors that it knows.
    code = getattr(error, "status_code", None) or text.split(" ")[0]
    if code in REFUSALS:
        says, remedy = REFUSALS[code]
        return f"{says} ({text})", remedy
    if isinstance(error, MasterNotFoundError):
        return f"has no master ({text})", "start the Sentinels, or correct REDIS_URL or PENSTOCK_SENTINEL_MASTER"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"shows a certificate that is not trusted ({text})", "correct ssl_ca_certs or the host in REDIS_URL"
    if isinstance(error, (ConnectionError, TimeoutError, OSError)):
        return f"does not answer ({text})", "start it or correct REDIS_URL"
    return f"refused a command ({text})", "see its log and its version"
