"""Where one job is and what stands in its way, as Redis knows it: two round trips, whatever there is of jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from penstock.broker import envelope
from penstock.broker.breakers import Standing, standing, task_of
from penstock.broker.claims import worker_of
from penstock.broker.keys import FIELD_SEPARATOR
from penstock.broker.queues import Pause, pause_of
from penstock.broker.scripts import Scripts

MOST_MESSAGES, MOST_BYTES = 10_000, 16_000_000
"""Claimed, dead and spooled messages that are looked at; Redis serves nobody else for some milliseconds meanwhile."""


@dataclass(frozen=True)
class WorkerCard:
    """What a worker's keeper has written down of it, and what Redis sees of its claims."""

    worker: str
    """Name of the incarnation."""
    silent_seconds: float | None
    """Since its keeper was heard of; None: its lease is over, and its claims are on their way back."""
    is_draining: bool
    queues: tuple[str, ...]
    """From which it claims."""
    stopped: tuple[str, ...]
    """From which it was told to claim no more."""
    is_full: bool
    """Whether it claims nothing because too much waits for the ledger."""
    ledger_away_since: datetime | None
    """Since when its keeper cannot write to the ledger."""
    places: int
    """Jobs that it can run at once; 0: it does not say."""
    is_single: bool
    """Whether each of its children runs one job at a time."""
    busy_children: int
    claims: int

    @property
    def hostname(self) -> str:
        """Its name without the incarnation, as Celery knows it."""
        return self.worker.rpartition("/")[0]

    @property
    def is_busy(self) -> bool:
        """Whether it has no place for another job."""
        return bool(self.places) and (self.busy_children if self.is_single else self.claims) >= self.places


@dataclass(frozen=True)
class Claim:
    """Of a job: who has its message."""

    worker: str
    queue: str
    token: str
    payload: dict[str, Any]
    first: str
    """Id of the job that the same child has claimed first: the one that it runs, if it runs one at a time."""


@dataclass(frozen=True)
class Whereabouts:
    """What Redis knows of a job at one moment of its clock."""

    now: datetime
    queue: str | None
    waits_since: datetime | None
    """From when on it may be claimed; None: it is not in the waiting index."""
    before: int | None
    """Jobs that may be claimed before it."""
    blocked: str
    """Why it is put aside."""
    breaker: Standing | None
    """Of its task, if that has put it aside and has not closed since."""
    is_revoked: bool
    is_cancelled: bool
    """Whether somebody has cancelled it by our client, and its end is not written yet: keepers see to it."""
    pause: Pause | None
    """Of its queue."""
    is_from_outbox: bool
    """Whether Redis has the message of its outbox row, wherever that is."""
    parked: dict[str, Any] | None
    claim: Claim | None
    named_by: dict[str, Any] | None
    """Another job's message that names this one, of those that are claimed."""
    dead: tuple[str, str, datetime] | None
    """Kind, reason and time of a dead letter that the ledger does not have yet."""
    spooled_by: str | None
    """The worker that has left its outcome in Redis."""
    workers: tuple[WorkerCard, ...]
    is_cut: bool
    """Whether there was more than is looked at."""
    memory: tuple[int, int]
    """Bytes that Redis uses, and those that it may use; 0: as many as there are."""


def find(scripts: Scripts, id: str, queues: Sequence[str] = ()) -> Whereabouts:
    """Looks for a job.

    Args:
        queues: where it may be, the likeliest first; those that Redis remembers are looked at as well.
    """
    answer = scripts.call("where", id, MOST_MESSAGES, MOST_BYTES, *queues)
    now, queue, score, before, blocked, *more = answer
    revoked, cancelled, gate, kept, parked, claimed, named, dead, spooled, workers, cut = more
    memory = scripts.client.info("memory")
    reason = blocked.decode(errors="replace")
    now_ms = int(now)
    return Whereabouts(
        now=_time(now_ms),
        queue=queue.decode() or None,
        waits_since=_time(float(score)) if score else None,
        before=int(before) if before != b"" else None,
        blocked=reason,
        breaker=standing(scripts, task_of(reason)) if task_of(reason) else None,
        is_revoked=bool(revoked),
        is_cancelled=bool(cancelled),
        pause=pause_of(gate or None),
        is_from_outbox=bool(kept),
        parked=_own(parked[0], id) if parked else None,
        claim=_claim(claimed, id),
        named_by=_named_by(named),
        dead=_dead(dead, id),
        spooled_by=_spooled_by(spooled),
        workers=tuple(_worker(workers[at : at + 6], now_ms) for at in range(0, len(workers), 6)),
        is_cut=bool(cut),
        memory=(int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0))),
    )


def _own(raw: bytes, id: str) -> dict[str, Any] | None:
    """The message if it is the job's own, and not another's that names it."""
    try:
        payload = envelope.read(raw)
    except envelope.Unreadable:
        return None
    return payload if envelope.job_id(payload) == id else None


def _claim(found: Sequence[bytes], id: str) -> Claim | None:
    if not found or (payload := _own(found[3], id)) is None:
        return None
    try:
        first = envelope.job_id(envelope.read(found[4])) or ""
    except envelope.Unreadable:
        first = ""
    return Claim(worker_of(found[0].decode()), found[1].decode(), found[2].decode(), payload, first)


def _named_by(found: Sequence[bytes]) -> dict[str, Any] | None:
    if not found:
        return None
    try:
        return envelope.read(found[1])
    except envelope.Unreadable:
        return None


def _dead(found: Sequence[bytes], id: str) -> tuple[str, str, datetime] | None:
    if not found or _own(found[3], id) is None:
        return None
    return found[0].decode(), found[1].decode(errors="replace"), _time(int(found[2]))


def _spooled_by(found: Sequence[bytes]) -> str | None:
    return worker_of(found[0].decode().rpartition(FIELD_SEPARATOR)[0]) if found else None


def _worker(parts: Sequence[Any], now_ms: int) -> WorkerCard:
    worker, renewed, draining, card, busy, claims = parts
    told = _read(card)
    away = told.get("away")
    return WorkerCard(
        worker=worker.decode(),
        silent_seconds=max(now_ms - float(renewed), 0) / 1000 if renewed else None,
        is_draining=bool(draining),
        queues=_texts(told.get("queues")),
        stopped=_texts(told.get("stopped")),
        is_full=told.get("full") is True,
        ledger_away_since=_time(away) if isinstance(away, (int, float)) else None,
        places=places if isinstance(places := told.get("places"), int) else 0,
        is_single=told.get("single") is not False,
        busy_children=int(busy),
        claims=int(claims),
    )


def _read(card: bytes) -> Mapping[str, Any]:
    """A card is data, and anyone may have written it."""
    try:
        told = json.loads(card or b"{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _time(ms: float) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
