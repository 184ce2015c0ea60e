"""Looking at the breakers of tasks, and at the jobs that they have put aside."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from penstock.broker.aside import AsideList, lists_in
from penstock.broker.scripts import Scripts

PUT_ASIDE_BY = "breaker of "
CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"


@dataclass(frozen=True)
class Standing:
    """How a breaker stands that is not closed."""

    task: str
    state: str
    since: datetime
    next_at: datetime | None
    """When probes start, or more of them if these do not answer; None: a person has opened it, and closes it."""
    times: int
    """How often it has opened in a row."""
    fault: str
    """What the last failed attempt failed with."""
    by: str
    note: str


class BrokenList(AsideList):
    """Jobs of a task that its breaker has put aside; :func:`message_of` an entry is the message."""


def standing(scripts: Scripts, task: str) -> Standing | None:
    """How the breaker of a task stands; None: it is closed."""
    kept = scripts.client.hgetall(scripts.keys.breaker(task))
    return _standing(task, kept) if kept else None


def standings(scripts: Scripts) -> list[Standing]:
    """All breakers that are not closed, by task."""
    tasks = sorted(name.decode() for name in scripts.client.smembers(scripts.keys.breakers))
    pipe = scripts.client.pipeline(transaction=False)
    for task in tasks:
        pipe.hgetall(scripts.keys.breaker(task))
    return [_standing(task, kept) for task, kept in zip(tasks, pipe.execute(), strict=True) if kept]


def _standing(task: str, kept: dict[bytes, bytes]) -> Standing:
    def text(name: bytes) -> str:
        return kept.get(name, b"").decode(errors="replace")

    next_ms = int(text(b"next") or 0)
    return Standing(
        task=task,
        state=text(b"state"),
        since=_time(int(text(b"since") or 0)),
        next_at=_time(next_ms) if next_ms else None,
        times=int(text(b"times") or 0),
        fault=text(b"fault"),
        by=text(b"by"),
        note=text(b"note"),
    )


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def task_of(reason: str) -> str:
    """Whose breaker has put a job aside, by the reason that ``lua/settle.lua`` keeps; empty: it was none."""
    return reason.removeprefix(PUT_ASIDE_BY) if reason.startswith(PUT_ASIDE_BY) else ""


def failures_in_window(scripts: Scripts, task: str) -> int:
    """Failed attempts that are counted at present; up to two windows old where nothing has ended since."""
    counts = scripts.client.hgetall(scripts.keys.attempts(task))
    return sum(int(count) for name, count in counts.items() if name.startswith(b"f"))


def broken_lists(scripts: Scripts) -> list[BrokenList]:
    """The lists that hold something, by task, queue and step."""
    return lists_in(scripts, scripts.keys.broken, BrokenList)


def jobs_by_task(scripts: Scripts) -> Counter[str]:
    """How many jobs of each task are put aside."""
    counts: Counter[str] = Counter()
    for each in broken_lists(scripts):
        counts[each.task] += each.messages
    return counts


def pop(client: Any, key: str, count: int) -> list[bytes]:
    """Takes so many messages off such a list, for good."""
    return [message_of(entry) for entry in client.rpop(key, count) or ()]


def message_of(entry: bytes) -> bytes:
    """The message of an entry of such a list; ``lua/settle.lua`` makes them."""
    length, _, rest = entry.partition(b":")
    return rest[int(length) :]
