"""Lists of messages that were put aside, each of one task, queue and priority step, and the registers of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from penstock.broker.keys import FIELD_SEPARATOR
from penstock.broker.scripts import Scripts


@dataclass(frozen=True, order=True)
class AsideList:
    """One of them; in order by task, queue and step."""

    task: str
    queue: str
    step: int
    list_key: str
    messages: int


Kind = TypeVar("Kind", bound=AsideList)


def lists_in(scripts: Scripts, register: str, kind: type[Kind]) -> list[Kind]:
    """Those of a register that hold something, in order."""
    kept = scripts.client.hgetall(register)
    pipe = scripts.client.pipeline(transaction=False)
    for key in kept:
        pipe.llen(key)
    return sorted(
        kind(*place_of(value), key.decode(), length)
        for (key, value), length in zip(kept.items(), pipe.execute(), strict=True)
        if length
    )


def place_of(value: bytes) -> tuple[str, str, int]:
    """Task, queue and step, as a register has them. The name of a task may be any text, so it stands first."""
    task, queue, step = value.decode().rsplit(FIELD_SEPARATOR, 2)
    return task, queue, int(step)
