"""A profile: one kind of worker, as data. ``workers/profiles.py`` lists those of a deployment."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from penstock.errors import DeclarationError

SINGLE: Final = "single"
SIZES = {"threads": 16, "asyncio": 200}
"""Kinds of children that run many jobs at once, and how many if a profile does not say."""
MOST = 2000
"""Jobs that a child may run at once."""
NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One kind of worker; ``celery -A … worker --profile NAME`` starts one.

    Args:
        name: also the worker's name before the ``@``.
        queues: the queues that it serves, all equally.
        children: its processes. Of the kind ``"single"`` each runs one job at a time.
        kind: what a child is made for: ``"single"``, one job at a time, for work that computes; ``"asyncio"``, many
            coroutines in one event loop, for tasks that are ``async def`` and wait for others; ``"threads"``, many
            threads, for tasks that wait in calls which block.
        size: how many jobs each child runs at once, for kinds that run many; None: 200 coroutines, or 16 threads.
        autoscale_to: with more to do it grows to so many children, and shrinks again afterwards.
        time_limit: seconds after which a job is killed, if its task says nothing of its own.
        soft_time_limit: seconds after which a job meets ``SoftTimeLimitExceeded``, if its task says nothing of its own.
        max_tasks_per_child: jobs after which a child makes room for a new one.
        max_mib_per_child: resident memory, in MiB, beyond which a child makes room for a new one. Celery's own
            ``max_memory_per_child`` counts in KiB.
        by_hand: whether ``make up`` leaves it to somebody to start.

    Raises:
        DeclarationError: something of this cannot work; the message lists everything.
    """

    name: str
    queues: tuple[str, ...]
    children: int
    kind: Literal["single", "threads", "asyncio"] = SINGLE
    size: int | None = None
    autoscale_to: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    max_tasks_per_child: int | None = None
    max_mib_per_child: int | None = None
    by_hand: bool = False

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise DeclarationError(f"profile {self.name!r}: {'; '.join(problems)}")

    def _problems(self) -> Iterator[str]:
        if not (isinstance(self.name, str) and NAME.fullmatch(self.name)):
            yield "name must be letters, digits, - and _, because it stands before the @ of the worker's name"
        yield from _problems_of_queues(self.queues)
        if not _is_count(self.children):
            yield f"children must be a whole number from 1 on, not {self.children!r}"
        elif self.autoscale_to is not None and not (_is_count(self.autoscale_to) and self.autoscale_to > self.children):
            yield f"autoscale_to must be more than the {self.children} children, not {self.autoscale_to!r}"
        for name in ("max_tasks_per_child", "max_mib_per_child"):
            value = getattr(self, name)
            if value is not None and not _is_count(value):
                yield f"{name} must be a whole number from 1 on, not {value!r}"
        yield from problems_of_kind(self.kind, self.size)
        yield from self._problems_of_times()

    def _problems_of_times(self) -> Iterator[str]:
        limits = {name: getattr(self, name) for name in ("soft_time_limit", "time_limit")}
        wrong = {name: value for name, value in limits.items() if value is not None and not _is_time(value)}
        yield from (f"{name} must be seconds, more than 0, not {value!r}" for name, value in wrong.items())
        if not wrong and None not in limits.values() and limits["soft_time_limit"] >= limits["time_limit"]:
            yield (
                f"soft_time_limit ({self.soft_time_limit} s) must come before time_limit ({self.time_limit} s), "
                "which kills the job"
            )


def distinct(profiles: Iterable[Profile]) -> tuple[Profile, ...]:
    """The same profiles.

    Raises:
        DeclarationError: two have one name.
    """
    listed = tuple(profiles)
    if twice := [name for name, times in Counter(profile.name for profile in listed).items() if times > 1]:
        raise DeclarationError(f"declared twice: profile {', '.join(map(repr, twice))}; give each a name of its own")
    return listed


def _problems_of_queues(queues: Any) -> Iterator[str]:
    if isinstance(queues, str) or not isinstance(queues, tuple | list):
        yield f"queues must be a tuple of names, not {queues!r}"
        return
    if not queues:
        yield "queues must name at least one"
    for queue in dict.fromkeys(queues):
        if not isinstance(queue, str) or not queue or "," in queue or queue != queue.strip():
            yield f"queues has {queue!r}, which is no name of a queue"
        elif queues.count(queue) > 1:
            yield f"queues has {queue!r} twice"


def problems_of_kind(kind: Any, size: Any) -> Iterator[str]:
    """What is wrong with a kind of children and how many jobs each of them runs."""
    if kind != SINGLE and kind not in SIZES:
        yield f"kind must be {', '.join(map(repr, (SINGLE, *SIZES)))}, not {kind!r}"
    elif size is not None and kind == SINGLE:
        yield f"size is for children that run many jobs; kind {SINGLE!r} runs one"
    elif size is not None and not (_is_count(size) and size <= MOST):
        yield f"size must be a whole number from 1 to {MOST}, not {size!r}"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
