"""Chunks of many calls: checked as a whole, and sorted by where they go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from penstock import message
from penstock.client.job import Job
from penstock.client.publishing import MOST_BYTES, Destination, Outgoing, publisher
from penstock.client.signals import listened_signals
from penstock.client.templates import new_ids, way
from penstock.errors import ArgumentError
from penstock.message import Template
from penstock.outbox import Outbox
from penstock.task import BoundCall


class Part(NamedTuple):
    """What of a chunk is accepted together, or not at all."""

    destination: Destination
    jobs: list[Any]
    """Pairs of id and message; or what they are made of, if somebody may want to change them."""
    accepted: int
    """How many calls have been taken in all once this part is; 0: its chunk has more parts."""


class Chunk:
    """Calls that are checked together before any of them is sent."""

    def __init__(self, calls: list[BoundCall[Any]], taken: int, block: Outbox | None) -> None:
        """Args:
        taken: calls before this chunk, for the sentence of an error.
        block: the session's transaction that the jobs are for; None: Redis.
        """
        self.jobs: list[Job[Any]] = []
        """One for each call so far, in their order."""
        self.is_quiet = block is None and listened_signals() is None
        """Whether nobody wants to change the messages, and these are made already."""
        self._calls = iter(zip(new_ids(len(calls)), calls, strict=True))
        self._taken = taken
        self._in_outbox = block is not None
        self._limit, self._now = publisher().settings.max_argument_bytes, datetime.now(UTC)
        # By identity, as most calls of a chunk share one object, whose hash would cost more than the call.
        self._ways: dict[tuple[int, int], tuple[Template, list[Any]]] = {}
        self._groups: dict[Destination, list[Any]] = {}

    def build(self, seconds: float | None = None) -> bool:
        """Checks calls and makes their messages; whether it is done with all of them.

        Args:
            seconds: after which it stops, to go on with the next call of this.

        Raises:
            ArgumentError: of the call whose position it names.
        """
        deadline = time.perf_counter() + seconds if seconds is not None else None
        ways, jobs, limit, is_quiet = self._ways, self.jobs, self._limit, self.is_quiet
        last, conversion = None, None
        for job_id, (task, options, args, kwargs) in self._calls:
            try:
                task.check_arguments(args, kwargs)
                if task is not last:
                    last, conversion = task, task.conversion
                if conversion is not None:
                    args, kwargs = conversion.encode(args, kwargs)
                arguments = message.check(task.name, args, kwargs, limit)
            except ArgumentError as error:
                raise ArgumentError(f"call {self._taken + len(jobs) + 1:,}: {error}") from None
            key = id(task), id(options)
            if key not in ways:
                destination, template = way(task, options, self._now, in_outbox=self._in_outbox)
                ways[key] = template, self._groups.setdefault(destination, [])
            template, group = ways[key]
            # What is made at once leaves no objects behind through which the garbage collector would go.
            group.append(
                (job_id, template.unsealed(job_id, arguments)) if is_quiet else Outgoing(job_id, template, arguments)
            )
            jobs.append(Job(job_id, task.name, options.queue))
            if deadline is not None and time.perf_counter() > deadline:
                return False
        return True

    def parts(self) -> list[Part]:
        """What goes where, once all is built."""
        parts = [(destination, part) for destination, group in self._groups.items() for part in _parts(group)]
        taken = self._taken + len(self.jobs)
        return [Part(*each, taken if number == len(parts) else 0) for number, each in enumerate(parts, 1)]


class Intake:
    """What has become of the calls so far."""

    def __init__(self, block: Outbox | None) -> None:
        self.block = block
        self.taken = 0
        """Calls of the chunks that were begun."""
        self._accepted = 0
        self._partly: list[str] = []
        """Queues whose jobs were taken of the chunk in between."""

    def accept(self, part: Part) -> None:
        """Notes that a part was taken."""
        self._partly.append(part.destination.queue)
        if part.accepted:
            self._accepted, self._partly = part.accepted, []

    def __str__(self) -> str:
        done = "accepted" if self.block is None else self.block.taken
        whole = f"calls 1 to {self._accepted:,} were {done}" if self._accepted else f"none was {done}"
        queues = ", ".join(dict.fromkeys(self._partly))
        return f"{whole}, and some of the next chunk, for {queues}" if queues else whole


def _parts(group: list[Any]) -> Iterator[list[Any]]:
    """A group in calls that hold Redis up for some milliseconds each, however large the arguments are."""
    part: list[Any] = []
    size = 0
    for each in group:
        length = len(each[1]) if len(each) == 2 else len(each.arguments.text)
        if part and size + length > MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(each)
        size += length
    yield part
