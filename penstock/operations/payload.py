"""A message from the wire for people and machines: decoded as far as that is safe, which is JSON, and bytes beyond."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from penstock.broker import envelope
from penstock.ledger.values import as_time
from penstock.message import ENQUEUED_AT
from penstock.operations.wording import call_of

SHOWN_BYTES = 2000


@dataclass(frozen=True)
class Payload:
    """A message, opened as far as it goes."""

    raw: bytes
    problem: str
    """Why it could not be opened further; empty when all of it could."""
    headers: Mapping[str, Any]
    properties: Mapping[str, Any]
    body: Any
    """Decoded from JSON; None when it is something else."""

    @property
    def job(self) -> str:
        """The job's id; empty when there is none."""
        id = self.headers.get("id")
        return id if isinstance(id, str) else ""

    @property
    def task(self) -> str:
        """The task's name; empty when there is none."""
        task = self.headers.get("task")
        return task if isinstance(task, str) else ""

    @property
    def enqueued_at(self) -> datetime | None:
        """As its producer says."""
        return as_time(self.headers.get(ENQUEUED_AT))

    @property
    def call(self) -> str:
        """The task with its arguments, as in Python; empty when it names no task."""
        if isinstance(self.body, list) and len(self.body) > 1 and isinstance(self.body[0], list) and self.task:
            return call_of(self.task, self.body[0], self.body[1])
        return f"{self.task}(…)" if self.task else ""


def decode(raw: bytes) -> Payload:
    """Opens a message that anybody may have written. Pickle, YAML and the like stay closed: opening them runs code."""
    try:
        opened = envelope.read(raw)
    except envelope.Unreadable as error:
        return Payload(raw, str(error), {}, {}, None)
    body = envelope.body(opened)
    kind = opened.get("content-type") or "something"
    problem = "" if body is not None else f"its body is {kind} and no JSON, and is shown as it is"
    return Payload(raw, problem, opened["headers"], opened["properties"], body)


def shown_bytes(raw: bytes, whole: str = "") -> str:
    """As text where it is some, else with escapes, cut at ``SHOWN_BYTES``.

    Args:
        whole: where there is all of it; said when it is cut.
    """
    try:
        text = raw[:SHOWN_BYTES].decode()
    except UnicodeDecodeError:
        text = repr(raw[:SHOWN_BYTES])
    where = f"; {whole}" if whole else ""
    return text if len(raw) <= SHOWN_BYTES else f"{text} … (cut: {len(raw):,} bytes{where})"


def payload_as_json(payload: Payload) -> dict[str, Any]:
    """Everything, and the very bytes as base64."""
    return {
        "problem": payload.problem or None,
        "headers": dict(payload.headers),
        "properties": dict(payload.properties),
        "body": payload.body,
        "size": len(payload.raw),
        "base64": base64.b64encode(payload.raw).decode(),
    }
