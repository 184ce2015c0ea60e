"""What a claimed message is: read once, looked at once.

Nearly every message is plain: the first delivery of a job of a known task, due now, of which nothing unusual is asked.
Those take the short way; everything else takes Celery's.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from celery.worker import state

from penstock.broker import envelope
from penstock.broker.scripts import Claimed
from penstock.engine.running.duties import TaskDuties
from penstock.message import OUTBOX, REPLAY_OF

decode = msgspec.json.Decoder().decode
KOMBU_TYPES_TEXT = envelope.KOMBU_TYPES.decode()
ENCODINGS = (None, "", "utf-8", "base64")
JSON, UTF8 = "application/json", "utf-8"
NEVER_PLAIN = frozenset({"retries", "expires", "eta", OUTBOX, REPLAY_OF, "stamped_headers", "replaced_task_nesting"})
"""Headers with which a message is not plain, when they say something."""


class Job:
    """A claimed message on its way to its task."""

    __slots__ = ("body", "claimed", "claimed_at", "duties", "headers", "number", "payload", "step")

    def __init__(self, claimed: Claimed, payload: dict[str, Any], claimed_at: float) -> None:
        self.claimed = claimed
        self.claimed_at = claimed_at
        number, _, step = claimed.token.partition(":")
        self.number = int(number)
        self.step = int(step)
        self.payload = payload
        self.headers: dict[str, Any] = payload["headers"]
        self.duties: TaskDuties | None = None
        self.body: Any = None
        """``[args, kwargs, embed]`` of a plain message."""

    @property
    def token(self) -> str:
        """Of its claim."""
        return self.claimed.token

    @property
    def is_plain(self) -> bool:
        """Whether the short way is enough."""
        return self.body is not None


def opened(claimed: Claimed, known: dict[str, TaskDuties], claimed_at: float) -> Job:
    """The message, read.

    Args:
        claimed_at: seconds since 1970.

    Raises:
        Unreadable: nobody can read it.
    """
    payload = _quickly(claimed.raw) or envelope.read(claimed.raw)
    job = Job(claimed, payload, claimed_at)
    headers = job.headers
    name = headers.get("task")
    duties = known.get(name) if isinstance(name, str) else None
    if duties is not None:
        job.duties = duties
        if duties.is_plain and not claimed.deliveries and _is_plain(headers, payload):
            job.body = _body(payload)
    return job


def _quickly(raw: bytes) -> dict[str, Any] | None:
    """The envelope, if nothing about it is unusual.

    msgspec takes a quarter of the time of Python's own decoder, and what it refuses or does not know (surrogates, NaN,
    kombu's types) is left to that.
    """
    if envelope.KOMBU_TYPES in raw:
        return None
    try:
        payload = decode(raw)
        properties, headers = payload["properties"], payload["headers"]
        if type(payload["body"]) is not str or type(headers) is not dict or type(properties) is not dict:
            return None
        if type(properties["delivery_info"]) is not dict or properties.get("body_encoding") not in ENCODINGS:
            return None
    except (msgspec.MsgspecError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return payload  # type: ignore[no-any-return]


def _is_plain(headers: dict[str, Any], payload: dict[str, Any]) -> bool:
    if not NEVER_PLAIN.isdisjoint(headers) and any(map(headers.get, NEVER_PLAIN)):
        return False
    if state.revoked_stamps or not isinstance(headers.get("id"), str) or not headers["id"]:
        return False
    return bool(payload.get("content-type") == JSON and payload.get("content-encoding") == UTF8)


def _body(payload: dict[str, Any]) -> Any:
    """None unless it is what a task message of protocol 2 has; Celery then says what is wrong with it."""
    text = payload["body"]
    try:
        if payload["properties"].get("body_encoding") == "base64":
            text = base64.b64decode(text)
        body = decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if type(body) is not list or len(body) != 3:
        return None
    args, kwargs, embed = body
    if type(args) is not list or type(kwargs) is not dict or type(embed) is not dict:
        return None
    limits = payload["headers"].get("timelimit")
    if limits and (type(limits) is not list or len(limits) != 2 or not all(map(_is_limit, limits))):
        return None
    # What kombu's decoder would rebuild.
    marked = KOMBU_TYPES_TEXT in text if isinstance(text, str) else envelope.KOMBU_TYPES in text
    return None if marked else body


def _is_limit(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
