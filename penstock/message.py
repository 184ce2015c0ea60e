"""The wire form of a job: Celery's task message, protocol version 2, in kombu's envelope.

Everything that a stock Celery worker needs is here and nothing here imports Celery, so that a web application can
submit jobs without loading it. What a worker assumes anyway is left out, and the body is plain text, not base64.
"""

from __future__ import annotations

import json
import os
import reprlib
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from penstock.errors import ArgumentError

MAX_DEPTH = 64
ENQUEUED_AT = "enqueued_at"
"""Header with the time of enqueueing (ISO 8601, UTC); protocol 2 has none of its own."""
REPLAY_OF = "replay_of"
"""Header with the id of the job that this one repeats."""
SCHEDULE = "schedule"
"""Header with the name of the schedule that started the job."""
TAGS = "tags"
"""Header with the words by which the job is to be found; jobs without any have none."""
OUTBOX = "outbox"
"""Header with the key of the ledger's outbox row that the message came from."""
GOES_ON = "goes_on"
"""Header with the job's own id when the message is not its first: the last of a chain that has replaced the job."""
SNOOZES = "snoozes"
"""Header with how many of the job's retries were snoozes, of a job that had any."""
RETRIES_BY_RULE = "retries_by_rule"
"""Header with how many of the job's retries came under which rule of its Retry, if any did."""
FIRST_DUE = "first_due"
"""Header of a retry, if its task has a deadline, with the time at which the job might first start (ISO 8601, UTC)."""
SCHEDULE_TIMEOUT = "schedule_timeout"
"""Header with the seconds that the job may wait for a worker, from which a retry's ``expires`` is made anew."""
FINAL_EXPIRES = "final_expires"
"""Header with the time at which the job expires for good (ISO 8601, UTC), if ``expires`` may say an earlier one."""
OF_RETRIES = (SNOOZES, RETRIES_BY_RULE, FIRST_DUE, SCHEDULE_TIMEOUT, FINAL_EXPIRES)
"""Headers from which a job that is replayed starts anew."""
ASSUMED: Mapping[str, Any] = {
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "parent_id": None,
    "ignore_result": None,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
}
"""What a worker takes a header of protocol 2 to be when it is missing."""
SHORT = 300
"""Characters up to which arguments are shown in the headers as they are."""
PLAIN = frozenset({str, int, bool, type(None)})
"""Types of arguments about which JSON leaves no doubt."""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 100
_repr.maxlist = _repr.maxdict = _repr.maxtuple = 20

quote = json.encoder.encode_basestring_ascii
"""A text as JSON."""


def encoder(kind: type[json.JSONEncoder], *, allow_nan: bool = True) -> Callable[[Any], str]:
    """``json.dumps`` without white space, and without making an encoder anew for each value, its larger part."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return kind(separators=(",", ":"), allow_nan=allow_nan).encode
    # Nothing is looked for that contains itself: what goes too deep ends as an error of its own.
    encode = make(None, kind().default, quote, None, ":", ",", False, False, allow_nan)
    return lambda value: "".join(encode(value, 0))


to_json = encoder(json.JSONEncoder)


@dataclass(frozen=True, slots=True)
class Lineage:
    """The job that submits another: Celery's ``parent_id`` and ``root_id``."""

    parent: str | None = None
    root: str | None = None


class Arguments(NamedTuple):
    """A job's arguments, checked and encoded."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    text: str
    """As JSON, ``[…],{…}``."""

    @property
    def body(self) -> str:
        """The message's body. Its third part is for callbacks, a chain and a chord, of which there are none."""
        return f"[{self.text},{{}}]"

    @property
    def shown(self) -> tuple[str, str]:
        """``argsrepr`` and ``kwargsrepr``, which Flower shows; arguments in JSON are safe to repr."""
        draw = repr if len(self.text) <= SHORT else _repr.repr
        return draw(self.args), draw(self.kwargs) if self.kwargs else "{}"


class Template:
    """What messages of one task have in common that are submitted together, with the same options."""

    def __init__(
        self,
        *,
        task: str,
        queue: str,
        priority: int,
        now: datetime,
        eta: datetime | None = None,
        expires: datetime | None = None,
        of_expiry: Mapping[str, Any] | None = None,
        time_limits: tuple[float | None, float | None] = (None, None),
        lineage: Lineage = Lineage(),
        in_outbox: bool = False,
        schedule: str | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        """Args:
        of_expiry: headers from which a retry's expiry is made anew.
        time_limits: (hard, soft) in seconds, Celery's order on the wire.
        in_outbox: the messages are first messages of jobs in the ledger's outbox, whose keys are the jobs' ids.
        schedule: name of the schedule that starts the jobs.
        tags: words to find the jobs by.
        """
        self.task = task
        self.queue = queue
        self.priority = priority
        self._root = lineage.root
        self._in_outbox = in_outbox
        self._common: dict[str, Any] = {
            "lang": "py",
            "task": task,
            "eta": eta.isoformat() if eta else None,
            "expires": expires.isoformat() if expires else None,
            "timelimit": list(time_limits),
            "parent_id": lineage.parent,
            "origin": origin(),
            "ignore_result": False,
            ENQUEUED_AT: now.isoformat(),
            **({SCHEDULE: schedule} if schedule else {}),
            **({TAGS: list(tags)} if tags else {}),
            **(of_expiry or {}),
        }
        self._head = encode_headers(self._common)[:-1]
        self._tail = _tail(queue, priority)

    def headers(self, id: str, arguments: Arguments) -> dict[str, Any]:
        """All headers of protocol 2, for those who want to see or change them before the message is sent."""
        args_shown, kwargs_shown = arguments.shown
        own = {"id": id, "root_id": self._root or id, "argsrepr": args_shown, "kwargsrepr": kwargs_shown}
        kept = {OUTBOX: id} if self._in_outbox else {}
        return {**ASSUMED, "stamps": {}, **self._common, **own, **kept}

    def unsealed(self, id: str, arguments: Arguments) -> bytes:
        """One message."""
        args_shown, kwargs_shown = arguments.shown
        own = (
            f',"id":"{id}","root_id":"{self._root or id}",'
            f'"argsrepr":{quote(args_shown)},"kwargsrepr":{quote(kwargs_shown)}'
        )
        own += f',"{OUTBOX}":"{id}"}}' if self._in_outbox else "}"
        return _envelope(arguments.body, self._head + own, f'"correlation_id":"{id}",', self._tail)

    def unsealed_with(self, headers: Mapping[str, Any], id: str, arguments: Arguments) -> bytes:
        """One message with headers that somebody may have changed."""
        return _envelope(arguments.body, encode_headers(headers), f'"correlation_id":"{id}",', self._tail)


def unsealed(
    body: str,
    headers: Mapping[str, Any],
    properties: Mapping[str, Any],
    queue: str,
    priority: int,
    encode: Callable[[Any], str],
    *,
    exchange: str = "",
) -> bytes:
    """A message of Celery's own making; with an exchange, ``queue`` is its routing key.

    Args:
        body: as JSON.
        properties: those beside priority and the delivery's own.
        encode: turns headers and properties into JSON.
    """
    own = f"{encode(properties)[1:-1]}," if properties else ""
    return _envelope(body, encode_headers(headers, encode), own, _tail(queue, priority, exchange))


def sealed(unsealed: bytes, tag: str) -> bytes:
    """The message with its delivery tag, by which kombu tells messages apart, retries of one job among them."""
    return b'%b%b"}}' % (unsealed, tag.encode())


def encode_headers(headers: Mapping[str, Any], encode: Callable[[Any], str] = to_json) -> str:
    """Headers as JSON, without those that say what a worker assumes."""
    return encode({name: value for name, value in headers.items() if name not in ASSUMED or value != ASSUMED[name]})


def origin() -> str:
    """This process as Celery names it."""
    return f"gen{os.getpid()}@{_HOST}"


_HOST = socket.gethostname()


def _envelope(body: str, headers: str, own_properties: str, tail: str) -> bytes:
    text = (
        f'{{"body":{quote(body)},"content-encoding":"utf-8","content-type":"application/json",'
        f'"headers":{headers},"properties":{{{own_properties}{tail}'
    )
    return text.encode()


def _tail(queue: str, priority: int, exchange: str = "") -> str:
    """The properties that follow; the delivery tag comes last, so that it can be set when the message is sent."""
    return (
        f'"priority":{priority},"body_encoding":"utf-8",'
        f'"delivery_info":{{"exchange":{quote(exchange)},"routing_key":{quote(queue)}}},"delivery_tag":"'
    )


def check(task: str, args: Sequence[Any], kwargs: Mapping[str, Any], max_bytes: int) -> Arguments:
    """The arguments of a job, encoded.

    Args:
        max_bytes: bound on their size as JSON.

    Raises:
        ArgumentError: naming the argument that is not JSON or nested too deeply, or the size and the bound.
    """
    return Arguments(args, kwargs, encode_arguments(task, args, kwargs, max_bytes))


def encode_arguments(task: str, args: Sequence[Any], kwargs: Mapping[str, Any], max_bytes: int) -> str:
    """The arguments as JSON, ``[…],{…}``.

    Raises:
        ArgumentError: naming the argument that is not JSON, or the size and the bound.
    """
    for position, value in enumerate(args):
        if type(value) not in PLAIN:
            _check_json(value, f"argument {position + 1} of {task}", 0)
    for name, value in kwargs.items():
        if type(value) not in PLAIN:
            _check_json(value, f"argument {name!r} of {task}", 0)
    try:
        text = f"{to_json(args)},{to_json(kwargs) if kwargs else '{}'}"
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
        f"{path} is a {type(value).__name__}, which is not JSON; annotate the parameter with its type (docs/client.md "
        "has those that have a form as JSON), or pass a string, number, bool, None, list or dict"
    )
