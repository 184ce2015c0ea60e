"""Whether a Redis can keep jobs: its version, role, memory policy and persistence, all read from one INFO.

A managed Redis refuses CONFIG, and INFO says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.broker.connection import CLUSTER_REMEDY, MASTER_REMEDY, connect, shown, translated
from penstock.checks.finding import Finding

OLDEST_REDIS, OLDEST_VALKEY = (7, 0), (8, 0)
KEEPS = "noeviction"
Info = Mapping[str, Any]


def look_at(url: str, options: Mapping[str, Any], patience: float) -> list[Finding]:
    """Asks Redis once and judges its answer; what is wrong with it comes back as findings.

    Raises:
        BrokerUnavailable: it does not answer, within ``patience`` seconds each for a connection and for the answer.
    """
    client = connect(
        url,
        # One question on a new connection: whether that still lives need not be asked before.
        {**options, "health_check_interval": 0},
        name="penstock-check",
        connect_seconds=patience,
        answer_seconds=patience,
        retries=0,
    )
    with translated(url), client:
        # Without sections: several at once are an error to a Redis before 7.0, whose version must be told.
        info = client.info()
    return [_server(info, shown(url)), _policy(info), _persistence(info)]


def _server(info: Info, address: str) -> Finding:
    name, is_old = _version(info)
    trouble = [
        f"has version {name}; use Redis 7.0 or newer, or Valkey 8 or newer" if is_old else "",
        f"is part of a cluster; {CLUSTER_REMEDY}" if info.get("cluster_enabled") else "",
        f"is a replica, which takes no jobs; {MASTER_REMEDY}" if info.get("role") == "slave" else "",
    ]
    told = [f"Redis at {address} {text}" for text in trouble if text]
    return Finding("redis", not told, "; ".join(told) or f"{address}, {name}")


def _version(info: Info) -> tuple[str, bool]:
    """Name with version, and whether it is too old."""
    # Valkey reports the version of Redis that it is compatible with, and its own beside it.
    if valkey := info.get("valkey_version"):
        return f"Valkey {valkey}", _numbers(valkey) < OLDEST_VALKEY
    return f"Redis {info['redis_version']}", _numbers(info["redis_version"]) < OLDEST_REDIS


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in str(version).split(".")[:2])


def _policy(info: Info) -> Finding:
    """Whether a full Redis refuses new jobs, and not drops waiting ones."""
    if "maxmemory_policy" not in info:
        text = f"this Redis does not tell its maxmemory-policy; make sure that it is {KEEPS}"
        return Finding("policy", True, text, warning=True)
    policy, limit = info["maxmemory_policy"], int(info.get("maxmemory", 0))
    if limit and policy != KEEPS:
        text = f"a full Redis would drop waiting jobs (maxmemory-policy {policy}); set maxmemory-policy to {KEEPS}"
        return Finding("policy", False, text)
    if not limit:
        return Finding("policy", True, f"{policy}, without a maxmemory")
    return Finding("policy", True, f"{policy}, {_mebibytes(info['used_memory'])} of {_mebibytes(limit)} MiB used")


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f}"


def _persistence(info: Info) -> Finding:
    """Whether accepted jobs survive a restart of Redis; the embedded server always has them on disk."""
    if info.get("aof_enabled"):
        return Finding("persistence", True, "AOF is on")
    text = "AOF is off: jobs accepted since the last snapshot are lost when Redis restarts; set appendonly to yes"
    return Finding("persistence", True, text, warning=True)
