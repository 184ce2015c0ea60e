"""Tells what happens to jobs: events for whoever listens, lines for the log, counts for the worker's heartbeat.

In batches, and behind everything that a job waits for. Events are Celery's own, those of one job in their order; each
has the next time of the worker's logical clock, which `celery.events.State` sorts by.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

from celery.events.event import group_from
from celery.utils.time import utcoffset
from kombu.utils.json import JSONEncoder
from redis.exceptions import RedisError

from penstock.engine.keeping import Duty, Ward
from penstock.engine.logs import Lines
from penstock.engine.running.handing import PlainEntry
from penstock.message import encoder, sealed, unsealed

PAUSE_SECONDS = 0.02
"""Between two batches of events; what comes after a pause goes out at once."""
COUNTS_SECONDS = 0.25
BATCH = 100
MOST_PER_SECOND = 20_000
"""Events of jobs beyond which one in SAMPLE jobs is told of: nobody reads more, and the field ``sampled`` says so."""
SAMPLE = 10
EXCHANGE = "celeryev"
to_json = encoder(JSONEncoder)


class Tidings(Duty):
    """Performs when there is something to tell. What cannot be told for long is dropped, as Celery does."""

    def __init__(self, ward: Ward, hostname: str, pid: int, database: int, lines: Lines | None) -> None:
        """Args:
        pid: the worker's process id, as Celery's events have it.
        database: the number of the broker's database, which kombu's channels of events have in their names.
        lines: None: nobody reads lines of level INFO, or children write them.
        """
        super().__init__(ward)
        self.due = float("inf")
        self.enabled = False
        self.clock = 0
        self._common = {"hostname": hostname, "utcoffset": utcoffset(), "pid": pid}
        self._headers = {"hostname": hostname}
        self._prefix = f"{ward.scripts.keys.prefix}/{database}."
        self._lines = lines
        self._events: deque[Any] = deque()
        """(type, time, fields), or a plain success and whether its first two events were told."""
        self._has_listeners = False
        self._counts: Counter[str] = Counter()
        self._told = 0.0
        self._counted = 0.0
        self._second = 0
        self._in_second = 0
        self._shown: set[tuple[int, str]] = set()
        """(fork of the child, token) of jobs whose first two events went out while they ran."""

    # -- what has happened --------------------------------------------------------------------------------------

    def count(self, task: str) -> None:
        """A job of the task was started."""
        self._counts[task] += 1
        self._schedule()

    def tell(self, whose: tuple[int, str], type: str, at: float, fields: dict[str, Any]) -> None:
        """One event.

        Args:
            whose: the child's fork and the claim's token.
        """
        if type in ("task-received", "task-started"):
            if whose in self._shown:
                return
            if type == "task-started":
                self._shown.add(whose)  # However long it runs, it has been told of.
        else:
            self._shown.discard(whose)
        if self.enabled:
            self._add(type, at, fields)

    def show(self, whose: tuple[int, str], received: dict[str, Any], received_at: float, started_at: float) -> None:
        """A job runs that was not told of yet."""
        if whose in self._shown:
            return
        self.tell(whose, "task-received", received_at, received)
        self.tell(whose, "task-started", started_at, {"uuid": received["uuid"]})
        self._shown.add(whose)
        if self._lines is not None:
            self._log_received(received_at, received)

    def settled(self, whose: tuple[int, str]) -> None:
        """A claim ends: some ends are told of by no event."""
        self._shown.discard(whose)

    def forget(self, fork: int) -> None:
        """A child has died: nothing more comes of the job that it ran."""
        self._shown = {whose for whose in self._shown if whose[0] != fork}

    def tell_plains(self, entries: Sequence[PlainEntry], fork: int, process: str) -> None:
        """Plain successes, from their claims to their ends."""
        self._counts.update([entry.name for entry in entries])
        if self._lines is not None:
            self._log_plains(entries, fork, process)
        shown: set[str] = set()
        if self._shown:
            shown = {entry.token for entry in entries if (fork, entry.token) in self._shown}
            self._shown.difference_update((fork, token) for token in shown)
        if self.enabled:
            for entry in entries:
                if entry.sends_events and self._has_room():
                    self._events.append((entry, entry.token in shown))
        self._schedule()

    def _log_plains(self, entries: Sequence[PlainEntry], fork: int, process: str) -> None:
        assert self._lines is not None
        for entry in entries:
            if (fork, entry.token) not in self._shown:
                told = {"id": entry.id, "name": entry.name, "args": entry.argsrepr, "kwargs": entry.kwargsrepr}
                self._lines.received(entry.claimed_at, told)
            ended = {"id": entry.id, "name": entry.name, "return_value": entry.shown, "runtime": entry.runtime}
            self._lines.succeeded(entry.ended, process, ended)

    def log(self, at: float, process: str, text: str) -> None:
        """A line of a child's."""
        if self._lines is not None:
            self._lines.add(at, process, text)
            self._schedule()

    def _log_received(self, at: float, received: dict[str, Any]) -> None:
        assert self._lines is not None
        self._lines.received(at, {"id": received["uuid"], **received})
        self._schedule()

    def _has_room(self) -> bool:
        """Whether this job is told of. Counters are exact in any case."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 3
        return self._in_second <= MOST_PER_SECOND or self._in_second // 3 % SAMPLE == 0

    def _add(self, type: str, at: float, fields: dict[str, Any]) -> None:
        self._events.append((type, at, fields))
        self._schedule()

    def _events_of(self, told: Any) -> Iterator[dict[str, Any]]:
        """Celery's events, of which a job has up to three, each with the next time of the clock."""
        if len(told) == 3:
            type, at, fields = told
            yield self._event(type, at, fields)
            return
        entry, is_shown = told
        if not is_shown:
            received = {
                "uuid": entry.id,
                "name": entry.name,
                "args": entry.argsrepr or "",
                "kwargs": entry.kwargsrepr or "",
                "root_id": entry.root,
                "parent_id": entry.parent,
                "retries": 0,
                "eta": None,
                "expires": None,
            }
            yield self._event("task-received", entry.claimed_at, received)
            yield self._event("task-started", entry.started, {"uuid": entry.id})
        ended = {"uuid": entry.id, "result": entry.shown, "runtime": entry.runtime}
        yield self._event("task-succeeded", entry.ended, ended)

    def _event(self, type: str, at: float, fields: dict[str, Any]) -> dict[str, Any]:
        self.clock += 1
        event = {"type": type, "timestamp": at, "clock": self.clock, **self._common, **fields}
        if self._in_second > MOST_PER_SECOND:
            event["sampled"] = SAMPLE
        return event

    def _schedule(self) -> None:
        self.due = min(self.due, max(self._told + PAUSE_SECONDS, 0.0))

    # -- telling it ---------------------------------------------------------------------------------------------

    def perform(self) -> float:
        """Tells all there is."""
        if self._lines is not None:
            self._lines.flush()
        self._publish()
        now = self._told = time.monotonic()
        if self._counts and now - self._counted >= COUNTS_SECONDS:
            self._counted = now
            self.ward.tell(ran=dict(self._counts), clock=self.clock)
            self._counts.clear()
        return COUNTS_SECONDS if self._counts else float("inf")

    def _publish(self) -> None:
        """The first alone when nobody listened last time: if still nobody does, nobody misses the rest."""
        while self._events:
            count = min(len(self._events), BATCH if self._has_listeners else 1)
            batch = [event for _ in range(count) for event in self._events_of(self._events.popleft())]
            key = f"{group_from(batch[0]['type'])}.multi"
            raw = unsealed(to_json(batch), self._headers, {}, key, 0, to_json, exchange=EXCHANGE)
            try:
                heard = self.ward.scripts.client.publish(
                    f"{self._prefix}{EXCHANGE}/{key}", sealed(raw, str(self.clock))
                )
            except (RedisError, OSError):
                self._events.clear()  # Whoever listened is not there either.
                raise
            self._has_listeners = bool(heard)
            if not heard:
                self._events.clear()
