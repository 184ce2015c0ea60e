"""Signatures by the Standard Webhooks scheme (standardwebhooks.com), for which receivers find libraries."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")


def key_of(secret: str) -> bytes:
    """The key in ``whsec_<base64 of 24 to 64 bytes>``.

    Raises:
        ValueError: it has another form; the message does not show it.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in KEY_BYTES:
        raise ValueError(
            f"is not {PREFIX} and the base64 of {KEY_BYTES[0]} to {KEY_BYTES[-1]} bytes; make one with "
            f"`echo {PREFIX}$(openssl rand -base64 32)`"
        )
    return key


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that prove who sent ``body`` and when.

    Args:
        timestamp: seconds since 1970; receivers refuse what is minutes away from their own clock.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


def message_id(job_id: str) -> str:
    """The id of a job's message: the job's own, or a digest of one that does not fit into a header.

    A dot would make two different messages sign alike.
    """
    return job_id if _SAFE_ID.fullmatch(job_id) else hashlib.sha256(job_id.encode("utf-8", "replace")).hexdigest()
