"""What a claimed message is: read once, looked at once.

Nearly every message is plain: the first delivery of a job of a known task, in our own words, due now, from which nothing
unusual is asked. Those take the short way; everything else takes Celery's.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from celery.worker import state

from penstock.broker import envelope
from penstock.broker.scripts import Claimed
from penstock.engine.running.duties import TaskDuties
from penstock.message import OUTBOX

JSON, UTF8 = "application/json", "utf-8"
NEVER_PLAIN = ("retries", "expires", "eta", OUTBOX, "stamped_headers", "replaced_task_nesting")
"""Headers with which a message is not plain, when they say something."""


class Job:
    """A claimed message on its way to its task."""

    __slots__ = ("body", "claimed", "duties", "headers", "number", "payload", "step")

    def __init__(self, claimed: Claimed, payload: dict[str, Any]) -> None:
        self.claimed = claimed
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


def opened(claimed: Claimed, known: dict[str, TaskDuties]) -> Job:
    """The message, read.

    Raises:
        Unreadable: nobody can read it.
    """
    payload = envelope.read(claimed.raw)
    job = Job(claimed, payload)
    headers = job.headers
    name = headers.get("task")
    duties = known.get(name) if isinstance(name, str) else None
    if duties is not None:
        job.duties = duties
        if duties.is_plain and not claimed.deliveries and _is_plain(headers, payload):
            job.body = _body(payload)
    return job


def _is_plain(headers: dict[str, Any], payload: dict[str, Any]) -> bool:
    for name in NEVER_PLAIN:
        if headers.get(name):
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
        body = json.loads(text)
    except (ValueError, RecursionError):
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
    return None if envelope.KOMBU_TYPES in (text if isinstance(text, bytes) else text.encode()) else body


def _is_limit(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
