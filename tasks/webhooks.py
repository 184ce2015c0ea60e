"""Telling others over HTTP, and asking whether they are there."""

from __future__ import annotations

import json
import re
import time
import uuid
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from penstock import Retry, current_job, task
from tasks import http, signing
from tasks.config import TaskSettings
from tasks.egress import EgressRefused, Unreachable

SHOWN_BODY = 200
GONE, TOO_MANY = 410, 429
_EVENT = re.compile(r"[A-Za-z0-9_.-]{1,128}")


class DeliveryDelayed(Exception):
    """The endpoint asks for patience (429) or is in trouble (5xx); the job tries again.

    Attributes:
        retry_after: seconds that the endpoint asks for, or None.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeliveryRefused(Exception):
    """The endpoint will never take this webhook; correct the endpoint or the payload."""


class EndpointGone(DeliveryRefused):
    """The endpoint answered 410: nobody listens there any more; stop sending to it."""


class UnknownSecret(Exception):
    """No secret has this name; add it to TASKS_WEBHOOK_SECRETS. Nothing was sent."""


class UnexpectedStatus(Exception):
    """A URL answered with another status than expected."""


#: About an hour and a half. No pause outlasts the hour after which Redis would hand a waiting job out again.
PATIENCE = Retry(attempts=14, backoff="exponential", base=1, cap=1800, on=(DeliveryDelayed, Unreachable))


@task(queue="web", timeout=60, retry=PATIENCE)
def deliver(url: str, event: str, payload: Any, secret: str = "default") -> dict[str, Any]:  # noqa: S107  a name
    """POSTs a webhook, signed by the Standard Webhooks scheme, until the endpoint answers 2xx.

    The body is ``{"type": event, "timestamp": …, "data": payload}``. Its ``webhook-id``, also sent as
    ``Idempotency-Key``, is the job's id and the timestamp that of its submission, so that every attempt
    sends the same body under the same key and the receiver can drop repetitions.

    Args:
        url: the endpoint; redirects are not followed.
        event: its type, such as ``invoice.paid``.
        payload: any JSON.
        secret: name of the signing secret in TASKS_WEBHOOK_SECRETS.

    Returns:
        ``status``, ``elapsed_ms`` and ``attempt``.

    Raises:
        EgressRefused, UnknownSecret, ValueError: before anything is sent.
        DeliveryDelayed, Unreachable: worth another attempt.
        DeliveryRefused, EndpointGone: not worth one.
    """
    settings = TaskSettings.load()
    job = current_job()
    key = _key(settings, secret)
    submitted = (job and job.enqueued_at) or datetime.now(UTC)
    body = _body(event, submitted, payload)
    message_id = signing.message_id(job.id if job else str(uuid.uuid4()))
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": message_id,
        **signing.sign(key, message_id, int(time.time()), body),
    }
    answer = http.request("POST", url, allow=settings.egress_allow, headers=headers, body=body)
    _require_taken(answer)
    return {
        "status": answer.status,
        "elapsed_ms": _milliseconds(answer),
        "attempt": job.attempt if job else 1,
    }


@task(queue="web", timeout=120, retry=Retry(attempts=3, base=2, cap=30, on=(Unreachable,)))
def check_url(url: str, expect: list[int] | None = None) -> dict[str, Any]:
    """GETs a URL and says how it answered. A failed connection is tried again: a lost packet is no outage.

    Args:
        expect: the statuses that are right; any 2xx if absent.

    Returns:
        ``status``, ``elapsed_ms``, ``bytes`` of the body (at most 1 MiB is read; ``cut`` says whether it
        went on) and ``url`` after redirects.

    Raises:
        EgressRefused: the URL, or one that it redirects to, may not be requested.
        UnexpectedStatus: it answered otherwise.
        Unreachable: it did not answer.
    """
    if expect is not None and not _are_statuses(expect):
        raise ValueError(f"expect={expect!r}: a list of statuses such as [200, 404]")
    answer = http.fetch(url, TaskSettings.load().egress_allow)
    if answer.status not in (expect or range(200, 300)):
        expected = " or ".join(map(str, expect)) if expect else "2xx"
        raise UnexpectedStatus(f"{answer.url} answered {answer.status}, expected {expected}: {_shown(answer)}")
    return {
        "status": answer.status,
        "elapsed_ms": _milliseconds(answer),
        "bytes": len(answer.body),
        "cut": answer.is_cut,
        "url": answer.url,
    }


def _key(settings: TaskSettings, name: str) -> bytes:
    if name not in settings.webhook_secrets:
        known = ", ".join(sorted(settings.webhook_secrets)) or "none"
        raise UnknownSecret(f"there is no webhook secret {name!r} (known: {known}); add it to TASKS_WEBHOOK_SECRETS")
    return signing.key_of(settings.webhook_secrets[name])


def _body(event: str, submitted: datetime, payload: Any) -> bytes:
    if not isinstance(event, str) or not _EVENT.fullmatch(event):
        raise ValueError(f"event={event!r}: letters, digits, dots, - and _, such as invoice.paid")
    content = {"type": event, "timestamp": submitted.astimezone(UTC).isoformat(), "data": payload}
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def _require_taken(answer: http.Answer) -> None:
    """Raises unless the endpoint took the webhook; which error decides whether it is sent again."""
    if 200 <= answer.status < 300:
        return
    said = f"{answer.url} answered {answer.status}: {_shown(answer)}"
    if answer.status == TOO_MANY or answer.status >= 500:
        raise DeliveryDelayed(said, _retry_after(answer))
    if answer.status == GONE:
        raise EndpointGone(f"{answer.url} answered 410: the endpoint is gone; stop sending to it")
    if answer.redirects_to:
        raise DeliveryRefused(
            f"{answer.url} redirects ({answer.status}) to {answer.redirects_to}, and webhooks are not "
            "redirected; give the endpoint's own URL"
        )
    raise DeliveryRefused(said)


def _retry_after(answer: http.Answer) -> float | None:
    """Seconds from a Retry-After header in either of its forms; nonsense counts as absent."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _are_statuses(expect: object) -> bool:
    return isinstance(expect, list) and bool(expect) and all(isinstance(status, int) for status in expect)


def _shown(answer: http.Answer) -> str:
    """The beginning of the body for an error message, in one line."""
    text = answer.body[: SHOWN_BODY * 4].decode("utf-8", "replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return (line[: SHOWN_BODY - 1] + "…" if len(line) >= SHOWN_BODY else line) or "(no text)"


def _milliseconds(answer: http.Answer) -> int:
    return round(answer.elapsed * 1000)


__all__ = [
    "DeliveryDelayed",
    "DeliveryRefused",
    "EgressRefused",
    "EndpointGone",
    "UnexpectedStatus",
    "UnknownSecret",
    "Unreachable",
    "check_url",
    "deliver",
]
