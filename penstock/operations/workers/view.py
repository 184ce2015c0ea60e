"""Workers as whoever looks at them sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from penstock.broker.leases import Lease


class Verdict(StrEnum):
    """How a worker is; those first that somebody has to look after."""

    STUCK = "stuck"
    DRAINING = "draining"
    """It ends after its jobs."""
    PAUSED = "paused"
    """It claims nothing, because somebody wants that."""
    ANSWERS = "answers"
    """It is no worker of ours, and no more is known."""
    WELL = "well"


@dataclass(frozen=True)
class Process:
    """One process of a worker; see :class:`penstock.engine.processes.Footprint`."""

    role: str
    """parent, zygote, keeper or child."""
    pid: int
    state: str
    resident_kib: int
    proportional_kib: int | None
    cpu_seconds: float | None

    @property
    def is_stopped(self) -> bool:
        """Whether it stands still by a signal."""
        return self.state == "T"

    @property
    def memory_kib(self) -> int:
        """Its own part of the memory, where the system tells it."""
        return self.resident_kib if self.proportional_kib is None else self.proportional_kib


@dataclass(frozen=True)
class Child:
    """What one child does.

    Attributes:
        state: idle, running, handing over (the outcome of its job), or ending.
        done: jobs since its fork; None: nobody tells, as of all else.
        held: claims that have not started.
        running: jobs at this moment, of a child that runs many at once; the rest is told of the one that has run for
            longest.
        places: how many such a child may run.
        seconds: since its job has started.
        soft_limit: of its job, in seconds; ``hard_limit`` as well.
    """

    pid: int | None
    state: str
    done: int | None = None
    held: int | None = None
    claimed_seconds_ago: float | None = None
    running: int | None = None
    places: int | None = None
    job: str | None = None
    task: str | None = None
    queue: str | None = None
    started_at: float | None = None
    seconds: float | None = None
    soft_limit: float | None = None
    hard_limit: float | None = None

    @property
    def started(self) -> datetime | None:
        """When its job has."""
        return datetime.fromtimestamp(self.started_at, UTC) if self.started_at else None

    @property
    def limit(self) -> float | None:
        """Seconds after which its job is ended, or told to end."""
        return self.hard_limit or self.soft_limit

    @property
    def jobs(self) -> int:
        """That it runs."""
        return int(self.seconds is not None) if self.running is None else self.running

    @property
    def busy(self) -> str:
        """How many of its places have a job; empty for a child that runs one at a time."""
        return "" if self.places is None else f"{self.jobs} of {self.places}"

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From an answer; a worker of another version may tell more."""
        return cls(**{name: told[name] for name in _CHILD if name in told})


_CHILD = {field.name for field in fields(Child)}
_PROCESS = {field.name for field in fields(Process)}


@dataclass(frozen=True)
class Told:
    """What a worker has answered.

    Attributes:
        worker: its incarnation; empty: it has no lease.
        is_ours: whether it runs our engine; of others little is known.
        target: how many children it is to have.
        most: how many it has room for; None: nobody tells.
        stopped: queues from which it was told to claim no more.
        has_room: whether it could run one more job.
    """

    worker: str
    is_ours: bool
    queues: tuple[str, ...]
    held: int | None = None
    has_room: bool = False
    claimed_seconds_ago: float | None = None
    version: str = ""
    up_seconds: float | None = None
    target: int | None = None
    most: int | None = None
    keeper: int | None = None
    stopped: tuple[str, ...] = ()
    processes: tuple[Process, ...] = ()
    children: tuple[Child, ...] = ()

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self:
        """From an answer to ``processes``."""
        plain = ("held", "has_room", "claimed_seconds_ago", "version", "up_seconds", "target", "most", "keeper")
        return cls(
            answer["worker"],
            True,
            tuple(answer.get("queues") or ()),
            stopped=tuple(answer["stopped"]),
            processes=tuple(
                Process(**{name: told[name] for name in _PROCESS if name in told}) for told in answer["processes"]
            ),
            children=tuple(map(Child.of, answer["children"])),
            **{name: answer[name] for name in plain if name in answer},
        )

    def process(self, pid: int | None) -> Process | None:
        """What is known of one process."""
        return next((process for process in self.processes if process.pid == pid), None)

    @property
    def running(self) -> list[Child]:
        """Children that run a job."""
        return [child for child in self.children if child.seconds is not None]

    @property
    def jobs(self) -> int:
        """That its children run."""
        return sum(child.jobs for child in self.children)

    @property
    def memory_kib(self) -> int:
        """Of all its processes together."""
        return sum(process.memory_kib for process in self.processes)


@dataclass(frozen=True)
class WorkerView:
    """One worker at one moment.

    Attributes:
        name: as Celery knows it, ``cpu@host``.
        why: the verdict's reasons, for people; never empty.
        lease: None: it has none.
        told: what it has answered; None: nothing.
        paused: those of its queues that are paused.
    """

    name: str
    verdict: Verdict
    why: tuple[str, ...]
    lease: Lease | None
    told: Told | None
    paused: tuple[str, ...] = ()
