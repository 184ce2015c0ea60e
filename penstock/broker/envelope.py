"""Reading what anybody may have pushed: the JSON envelope in which kombu keeps a message in Redis."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from penstock.message import OUTBOX

KOMBU_TYPES = b'"__type__"'
"""Marks values that kombu's own decoder has to rebuild (UUIDs, times, decimals in headers)."""
NOT_DECODED = (ValueError, RecursionError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What decoding raises: the last four come from kombu's decoder, over values that are not what their mark says."""
CLOCKS_AGREE_MS = 1000
"""A difference between two clocks up to which times in messages are left alone."""


class Unreadable(Exception):
    """A message that cannot be delivered; the text says why."""


def read(raw: bytes) -> dict[str, Any]:
    """The envelope, fit for kombu's ``Message``.

    Raises:
        Unreadable: it is not JSON, lacks its properties, or its body cannot be decoded.
    """
    try:
        payload = _decode(raw)
    except NOT_DECODED as error:
        raise Unreadable(f"not JSON ({error})") from None
    if not isinstance(payload, dict):
        raise Unreadable(f"a JSON {type(payload).__name__}, where an object with a body and properties is due")
    properties = payload.get("properties")
    if not isinstance(properties, dict):
        raise Unreadable("without properties")
    if not isinstance(payload.get("body"), str):
        raise Unreadable("without a body")
    if payload.get("headers") is None:
        payload["headers"] = {}
    if not isinstance(payload["headers"], dict):
        raise Unreadable("its headers are not an object")
    _check_encoding(payload["body"], properties.get("body_encoding"))
    if not isinstance(properties.get("delivery_info"), dict):
        properties["delivery_info"] = {}
    return payload


def _decode(raw: bytes) -> Any:
    if KOMBU_TYPES in raw:
        from kombu.utils.json import loads

        return loads(raw.decode())
    return json.loads(raw)


def _check_encoding(body: str, encoding: Any) -> None:
    if encoding in (None, "", "utf-8"):
        return
    if encoding != "base64":
        raise Unreadable(f"its body is encoded as {encoding!r}, which nobody knows")
    try:
        base64.b64decode(body)
    except (binascii.Error, ValueError) as error:
        raise Unreadable(f"its body is not base64 ({error})") from None


def text(payload: dict[str, Any]) -> Any:
    """The body as it was before it was put into the envelope."""
    body = payload["body"]
    return base64.b64decode(body) if payload["properties"].get("body_encoding") == "base64" else body


def body(payload: dict[str, Any]) -> Any:
    """The body as JSON, or None when it is something else."""
    text = payload["body"]
    try:
        decoded = base64.b64decode(text) if payload["properties"].get("body_encoding") == "base64" else text
        return json.loads(decoded)
    except (ValueError, RecursionError):
        return None


def job_id(payload: dict[str, Any]) -> str:
    """The job's id from the headers of protocol 2; empty when there is none."""
    id = payload["headers"].get("id")
    return id if isinstance(id, str) else ""


def outbox_key(payload: dict[str, Any]) -> str:
    """The key of the outbox row that the message was published from; empty when there is none."""
    key = payload["headers"].get(OUTBOX)
    return key if isinstance(key, str) else ""


def from_outbox(raws: Iterable[bytes]) -> dict[str, str]:
    """Outbox key → job id of those of these messages that came from the outbox."""
    found = {}
    for raw in raws:
        with suppress(Unreadable):
            payload = read(raw)
            if key := outbox_key(payload):
                found[key] = job_id(payload)
    return found


def due_ms(payload: dict[str, Any]) -> int:
    """When the job may start, in milliseconds; 0: at once. A time without a zone means UTC, as for Celery."""
    eta = payload["headers"].get("eta")
    moment = _time(eta) if eta else None
    return int(moment.timestamp() * 1000) if moment else 0


def moment_ms(text: Any) -> int | None:
    """A time in a header, in milliseconds; None if it is none."""
    moment = _time(text)
    return int(moment.timestamp() * 1000) if moment else None


def localise(payload: dict[str, Any], offset_ms: int) -> None:
    """Shifts the times in the headers to this host's clock, which Celery will compare them with.

    The server's clock has already decided that the message is due. A worker whose clock is behind would hold it
    until its own clock agrees, and one whose clock is ahead would take it for expired.

    Args:
        offset_ms: this host's clock minus the server's.
    """
    if abs(offset_ms) <= CLOCKS_AGREE_MS:
        return
    headers = payload["headers"]
    for name in ("eta", "expires"):
        moment = _time(headers[name]) if headers.get(name) else None
        if moment:
            headers[name] = (moment + timedelta(milliseconds=offset_ms)).isoformat()


def _time(text: Any) -> datetime | None:
    """A time as text, or as kombu's decoder has rebuilt it.

    None for what is not a time: Celery then says so, and the message is buried with its reason.
    """
    try:
        moment = text if isinstance(text, datetime) else datetime.fromisoformat(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
