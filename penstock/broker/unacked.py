"""What stock workers left behind: kombu's hash of messages that were taken and never acknowledged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kombu.utils.json import dumps, loads

from penstock.broker.keys import STEP_SEPARATOR, step_of
from penstock.broker.scripts import SLICE, Scripts

VISIBILITY_SECONDS = 3600.0
"""kombu's default: after so long its own workers take a message for abandoned."""


def adopt_unacked(scripts: Scripts, options: Mapping[str, Any], *, at_once: bool = False) -> int:
    """Puts abandoned messages back on their queues; how many.

    Args:
        options: kombu's transport options, which name its hash and its visibility timeout.
        at_once: do not wait for the visibility timeout. Only right when no stock worker is running: what one is
            working on would run twice.
    """
    prefix = scripts.keys.prefix
    unacked = prefix + options.get("unacked_key", "unacked")
    index = prefix + options.get("unacked_index_key", "unacked_index")
    horizon = _horizon(scripts, options, at_once)
    adopted = 0
    for tag in list(_abandoned(scripts, unacked, index, horizon)):
        kept = scripts.client.hget(unacked, tag)
        if kept is None:
            scripts.client.zrem(index, tag)
            continue
        queue, step, raw = _destination(scripts, kept)
        adopted += scripts.call("adopt", unacked, index, tag, queue, step, raw)
    return adopted


def _horizon(scripts: Scripts, options: Mapping[str, Any], at_once: bool) -> float:
    """kombu scores by its workers' clocks, in seconds; the server's clock is the only one that all agree on."""
    seconds, _ = scripts.client.time()
    return float("inf") if at_once else seconds - float(options.get("visibility_timeout", VISIBILITY_SECONDS))


def _abandoned(scripts: Scripts, unacked: str, index: str, horizon: float) -> Iterator[bytes]:
    """A slice, newest first, so that the oldest is in front in the end. Without a horizon, all there are.

    The index may lack a message whose worker died between two of kombu's steps; such a one comes last, to the front.
    """
    everything = horizon == float("inf")
    count = -1 if everything else SLICE
    yield from scripts.client.zrange(index, horizon, "-inf", desc=True, byscore=True, offset=0, num=count)
    if everything:
        for tag, _ in scripts.client.hscan_iter(unacked, count=SLICE):
            yield tag


def _destination(scripts: Scripts, kept: bytes) -> tuple[str, int, str]:
    """Queue, step and raw form. Without a binding, which somebody may have deleted, the routing key is the queue."""
    payload, exchange, routing_key = loads(kept.decode())
    payload.setdefault("headers", {})["redelivered"] = True
    properties = payload.get("properties", {})
    properties.setdefault("delivery_info", {})["redelivered"] = True
    bound = scripts.client.smembers(f"{scripts.keys.prefix}_kombu.binding.{exchange}") if exchange else ()
    queues = [
        queue for key, _, queue in (member.decode().split(STEP_SEPARATOR) for member in bound) if key == routing_key
    ]
    return (queues or [routing_key])[0], step_of(int(properties.get("priority") or 0)), dumps(payload)


def unacked_size(scripts: Scripts, options: Mapping[str, Any]) -> int:
    """How many messages stock workers hold at the moment."""
    return int(scripts.client.hlen(scripts.keys.prefix + options.get("unacked_key", "unacked")))
