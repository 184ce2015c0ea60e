"""Why a job does not run: each thing that keeps it from being claimed, as one sentence and the facts behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from penstock.app import PenstockApp
from penstock.broker import breakers
from penstock.broker.queues import Pause, status
from penstock.broker.release import live_workers
from penstock.broker.scripts import Scripts
from penstock.errors import BrokerUnavailable
from penstock.job import State
from penstock.ledger import outbox, queries
from penstock.ledger.outbox import OutboxRow
from penstock.ledger.rows import JobRow
from penstock.ledger.session import reading
from penstock.operations.broker import broker_of, lease_seconds
from penstock.operations.jobs.lookup import find_job
from penstock.operations.jobs.serving import Serving, ask
from penstock.operations.jobs.waiting import Waiting, find_waiting
from penstock.operations.wording import counted, distance, one_line


@dataclass(frozen=True)
class Why:
    """Why a job does not run."""

    sentence: str
    """Begins in lower case and has no full stop."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """By name, for people: times are datetimes, counts numbers, the rest words."""


@dataclass(frozen=True)
class _Subject:
    """What matters of a job, whether it has a row or not."""

    id: str
    state: State
    queue: str | None
    task: str | None
    due: datetime | None
    reason: str
    attempts: int
    outbox: OutboxRow | None


@dataclass(frozen=True)
class _Seen:
    """What Redis knows of it."""

    blocked: str
    is_revoked: bool
    pause: Pause | None
    before: int | None
    """How many jobs came before it; None: it is on no list that can be searched."""


def why(app: PenstockApp, id: str) -> Why:
    """Why the job with this id, or the only one whose id begins like this, does not run.

    Asks the workers only if nothing else explains it.

    Raises:
        JobNotFound: neither the ledger knows it nor Redis, or several ids begin like this.
    """
    found = _find(app, id)
    now = datetime.now(UTC)
    if isinstance(found, JobRow) and (found.state.is_final or found.state is State.RUNNING):
        return _is_not_waiting(found, now)
    with reading(app.settings.database_url) as connection:
        subject = _subject(found, outbox.find_waiting(connection, found.id))
    reasons = list(_in_ledger(subject, now))
    try:
        with broker_of(app) as scripts:
            reasons += _in_redis(app, scripts, subject, now, is_explained=bool(reasons))
    except BrokerUnavailable:
        reasons.append(Why("Redis does not answer, so nobody can claim it"))
    facts = {name: value for reason in reasons for name, value in reason.facts.items()}
    return Why("; ".join(reason.sentence for reason in reasons), facts)


def _find(app: PenstockApp, id: str) -> JobRow | Waiting:
    """A whole id is that of its job, with a row or without, before it is the beginning of another's."""
    with reading(app.settings.database_url) as connection:
        row = queries.find_job(connection, id)
    found = row or find_waiting(app, id)
    if found is None:
        with reading(app.settings.database_url) as connection:
            return find_job(connection, id)
    return found


def _subject(found: JobRow | Waiting, kept: OutboxRow | None) -> _Subject:
    task = kept.task if kept else None
    if isinstance(found, Waiting):
        return _Subject(found.id, found.state, found.queue, task, found.since, "", 0, kept)
    return _Subject(found.id, found.state, found.queue, found.task, found.eta, found.reason or "", found.attempts, kept)


def _is_not_waiting(row: JobRow, now: datetime) -> Why:
    if row.state is State.RUNNING:
        where = one_line(row.worker or "an unnamed worker")
        since = distance(row.started_at, now) if row.started_at else "some time"
        return Why(f"it runs: it started {since} on {where}", {"Started": row.started_at, "Worker": where})
    ended = f"it has ended: {row.state}"
    return Why(f"{ended} {distance(row.finished_at, now)}" if row.finished_at else ended, {"Ended": row.finished_at})


def _in_ledger(job: _Subject, now: datetime) -> Iterator[Why]:
    if job.outbox and job.outbox.published_at is None:
        created = job.outbox.created_at
        yield Why(
            f"its message is in the outbox since {distance(created, now)} and not in Redis yet; a running worker "
            "brings it there",
            {"In the outbox since": created},
        )
    if job.due and job.due > now:
        kind = f"its retry, after {counted(job.attempts, 'attempt')}," if job.attempts else "it"
        yield Why(f"{kind} is due {distance(job.due, now)}", {"Due": job.due})


def _in_redis(app: PenstockApp, scripts: Scripts, job: _Subject, now: datetime, *, is_explained: bool) -> Iterator[Why]:
    seen = _look(scripts, job)
    if seen.is_revoked:
        yield Why("it was cancelled, and ends as soon as a worker claims it", {"Cancelled": "yes"})
    if job.state is State.BLOCKED:
        yield _held_by_breaker(scripts, job, now) if _reason(job, seen).startswith("breaker") else _blocked(job, seen)
    if job.queue is None:
        return
    if seen.pause:
        yield _paused(job.queue, seen.pause, now)
    if not (is_explained or seen.is_revoked or seen.pause or job.state is State.BLOCKED):
        yield from _unclaimed(job, seen, ask(app, live_workers(scripts, lease_seconds(app)), job.queue))


def _look(scripts: Scripts, job: _Subject) -> _Seen:
    client, keys = scripts.client, scripts.keys
    pipe = client.pipeline(transaction=False)
    blocked, revoked = pipe.hget(keys.blocked, job.id).zscore(keys.revoked, job.id).execute()
    before = _before(scripts, job.queue, job.id) if job.queue else None
    pause = status(scripts, [job.queue])[0].pause if job.queue else None
    return _Seen((blocked or b"").decode(), revoked is not None, pause, before)


def _before(scripts: Scripts, queue: str, id: str) -> int | None:
    """By the waiting index and not by the lists, which are long: it has the time from which each job may be claimed."""
    key = scripts.keys.waiting(queue)
    score = scripts.client.zscore(key, id)
    return None if score is None else int(scripts.client.zcount(key, "-inf", f"({score}"))


def _reason(job: _Subject, seen: _Seen) -> str:
    return seen.blocked or job.reason


def _held_by_breaker(scripts: Scripts, job: _Subject, now: datetime) -> Why:
    blocked = scripts.client.hget(scripts.keys.blocked, job.id)
    task = one_line(blocked.decode().removeprefix("breaker of ") if blocked else job.task or "its task")
    standing = breakers.standing(scripts, task)
    if standing is None:
        return Why(f"the breaker of {task} has closed, and it is on its way back to its queue", {"Breaker": "closed"})
    facts = {"Breaker": standing.state, "Breaker since": standing.since}
    since = distance(standing.since, now)
    if standing.by:
        why = f" ({one_line(standing.note)})" if standing.note else ""
        sentence = (
            f"the breaker of {task} was opened {since} by {one_line(standing.by)}{why}; it starts when it is closed"
        )
        return Why(sentence, facts | {"Opened by": standing.by})
    tried = f"; jobs are tried {distance(standing.next_at, now)}" if standing.next_at else ""
    sentence = (
        f"{task} kept failing ({one_line(standing.fault)}), so its breaker is {standing.state} since {since}{tried}"
    )
    return Why(sentence, facts | {"Next probe": standing.next_at})


def _blocked(job: _Subject, seen: _Seen) -> Why:
    reason = _reason(job, seen)
    if not reason.startswith("unknown task"):
        return Why(f"it is put aside: {reason or 'nobody says why'}", {"Put aside": reason})
    task = reason.removeprefix("unknown task").strip() or job.task or "its task"
    return Why(
        f"no worker that has seen it knows the task {task}; it starts by itself as soon as one does",
        {"Unknown task": task},
    )


def _paused(queue: str, pause: Pause, now: datetime) -> Why:
    note = f" ({one_line(pause.note)})" if pause.note else ""
    facts = {"Paused queue": queue, "Paused by": pause.by, "Paused since": pause.at, "Note": pause.note}
    return Why(
        f"its queue {queue} was paused {distance(pause.at, now)} by {one_line(pause.by)}{note}",
        {name: value for name, value in facts.items() if value},
    )


def _unclaimed(job: _Subject, seen: _Seen, serving: Serving) -> Iterator[Why]:
    facts: dict[str, Any] = {"Queue": job.queue}
    if seen.before is not None:
        facts["Jobs before it"] = seen.before
    if not serving.workers:
        yield Why(f"no worker runs, so nobody serves its queue {job.queue}", facts | {"Workers": 0})
        return
    facts |= {"Workers that serve it": ", ".join(serving.serve) or "none"}
    if serving.silent:
        facts["Workers that do not answer"] = ", ".join(serving.silent)
    if not serving.serve:
        silent = f"; without an answer: {', '.join(serving.silent)}" if serving.silent else ""
        yield Why(f"none of the workers that answer serves its queue {job.queue}{silent}", facts)
    elif seen.before:
        yield Why(f"{counted(seen.before, 'job')} came before it on {job.queue}{_busy(serving)}", facts)
    elif seen.before == 0:
        yield Why(f"it is the next of {job.queue}{_busy(serving)}", facts)
    else:
        yield Why("a worker has just claimed it, or Redis has lost it and is told again", facts)


def _busy(serving: Serving) -> str:
    return "" if serving.free else f", and all that serve it are busy: {', '.join(serving.serve)}"
