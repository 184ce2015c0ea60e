"""The wire form of a job: Celery's task message, protocol version 2, with a JSON body.

Everything that a stock Celery worker needs is here and nothing here imports Celery, so that a web application can
submit jobs without loading it.
"""

from __future__ import annotations

import json
import os
import reprlib
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from penstock.errors import ArgumentError

MAX_DEPTH = 64
ENQUEUED_AT = "enqueued_at"
"""Header with the time of enqueueing (ISO 8601, UTC); protocol 2 has none of its own."""
REPLAY_OF = "replay_of"
"""Header with the id of the job that this one repeats."""
SCHEDULE = "schedule"
"""Header with the name of the schedule that started the job."""

_ORIGIN_HOST = socket.gethostname()
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 100
_repr.maxlist = _repr.maxdict = _repr.maxtuple = 20


@dataclass(frozen=True, slots=True)
class Message:
    """One job on its way to a queue."""

    id: str
    task: str
    queue: str
    priority: int
    headers: dict[str, Any]
    body: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """The job that submits another: Celery's ``parent_id`` and ``root_id``."""

    parent: str | None = None
    root: str | None = None


def build(
    *,
    id: str,
    task: str,
    queue: str,
    priority: int,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    now: datetime,
    eta: datetime | None = None,
    expires: datetime | None = None,
    time_limits: tuple[float | None, float | None] = (None, None),
    lineage: Lineage = Lineage(),
    max_bytes: int,
) -> Message:
    """A message for one job.

    Args:
        time_limits: (hard, soft) in seconds, Celery's order on the wire.
        max_bytes: bound on the arguments' size as JSON.

    Raises:
        ArgumentError: an argument is not JSON, nested too deeply, or all of them are too large.
    """
    arguments = encode_arguments(task, args, kwargs, max_bytes)
    headers: dict[str, Any] = {
        "lang": "py",
        "task": task,
        "id": id,
        "shadow": None,
        "eta": eta.isoformat() if eta else None,
        "expires": expires.isoformat() if expires else None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": list(time_limits),
        "root_id": lineage.root or id,
        "parent_id": lineage.parent,
        "argsrepr": _repr.repr(tuple(args)),
        "kwargsrepr": _repr.repr(dict(kwargs)),
        "origin": f"gen{os.getpid()}@{_ORIGIN_HOST}",
        "ignore_result": False,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
        ENQUEUED_AT: now.isoformat(),
    }
    body = f'[{arguments}, {{"callbacks": null, "errbacks": null, "chain": null, "chord": null}}]'
    return Message(id=id, task=task, queue=queue, priority=priority, headers=headers, body=body)


def encode_arguments(task: str, args: Sequence[Any], kwargs: Mapping[str, Any], max_bytes: int) -> str:
    """The arguments as JSON text, ``[…], {…}``.

    Raises:
        ArgumentError: naming the argument that is not JSON, or the size and the bound.
    """
    for position, value in enumerate(args):
        _check_json(value, f"argument {position + 1} of {task}", 0)
    for name, value in kwargs.items():
        _check_json(value, f"argument {name!r} of {task}", 0)
    try:
        text = f"{json.dumps(list(args))}, {json.dumps(dict(kwargs))}"
    except ValueError as error:  # a number of thousands of digits
        raise ArgumentError(f"the arguments of {task} cannot be written as JSON ({error})") from None
    if len(text) > max_bytes:
        raise ArgumentError(
            f"the arguments of {task} take {len(text):,} bytes, more than {max_bytes:,}; store the data elsewhere and "
            "pass its key, or raise PENSTOCK_MAX_ARGUMENT_BYTES"
        )
    return text


def _check_json(value: Any, path: str, depth: int) -> None:
    """Refuses what ``json.dumps`` would refuse, or accept and silently change."""
    if value is None or isinstance(value, (bool, int, str)):
        return
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ArgumentError(f"{path} is {value}, which JSON has no word for; pass a finite number or None")
        return
    if depth >= MAX_DEPTH:
        raise ArgumentError(f"{path} is nested more than {MAX_DEPTH} levels deep; flatten it")
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_json(item, f"{path}[{index}]", depth + 1)
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ArgumentError(f"{path} has the key {key!r}, and JSON keys are strings; convert it")
            _check_json(item, f"{path}[{key!r}]", depth + 1)
        return
    raise ArgumentError(
        f"{path} is a {type(value).__name__}, which is not JSON; pass a string, number, bool, None, list or dict"
    )
