"""What a message says of its job. Anyone may have written it, so nothing in it is taken for granted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery.app.task import Context

from penstock import tags
from penstock.ledger.rows import Delivery
from penstock.ledger.values import UNKNOWN_TASK, as_time, claim_token, small_integer
from penstock.message import ENQUEUED_AT, REPLAY_OF, SCHEDULE, TAGS

MAX_INTEGER = 2**31 - 1


def describe_message(
    headers: Mapping[str, Any], body: Any, delivery_info: Mapping[str, Any], worker: str | None = None
) -> Delivery | None:
    """What a message says whose task nobody has called; None when it has no id.

    Args:
        headers: of protocol 2.
        body: decoded, `[args, kwargs, embed]`; anything else counts as unreadable.
        delivery_info: kombu's; ``routing_key`` is the queue.
        worker: where it was delivered.
    """
    id = headers.get("id")
    if not isinstance(id, str) or not id:
        return None
    args, kwargs = body[:2] if isinstance(body, (list, tuple)) and len(body) > 1 else (None, None)
    told = {"headers": dict(headers), "delivery_info": delivery_info, "args": args, "kwargs": kwargs}
    return describe_delivery(id, Context({**headers, **told, "hostname": worker}))


def describe_delivery(id: Any, request: Any) -> Delivery:
    """What a request of Celery's says of its job; a request may be missing, or be a bare signature.

    Anyone may have written the message: a header of the wrong kind counts as absent, or as its text, and costs no row.
    """
    if request is None:
        return Delivery(id=str(id), task=UNKNOWN_TASK)
    info = request.delivery_info or {}
    headers = request.headers or {}

    def header(name: str) -> Any:
        return getattr(request, name, None) or headers.get(name)

    return Delivery(
        id=str(id),
        task=_text(getattr(request, "task", None)) or UNKNOWN_TASK,
        queue=_text(info.get("routing_key")),
        priority=small_integer(info.get("priority")),
        args=_list(request.args),
        kwargs=request.kwargs,
        retries=_count(request.retries),
        deliveries=_count(info.get("deliveries")),
        token=claim_token(info.get("claimer"), info.get("token")),
        worker=_text(request.hostname),
        enqueued_at=as_time(header(ENQUEUED_AT)),
        eta=as_time(request.eta),
        parent_id=_text(request.parent_id),
        root_id=_text(request.root_id),
        group_id=_text(request.group),
        replay_of=_text(header(REPLAY_OF)),
        schedule=_text(header(SCHEDULE)),
        tags=tags.of_header(header(TAGS)),
    )


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def _count(value: Any) -> int:
    """How often something happened; a job that snoozes may do so many thousand times."""
    return value if type(value) is int and 0 <= value <= MAX_INTEGER else 0


def _list(args: Any) -> Any:
    return list(args) if isinstance(args, tuple) else args
