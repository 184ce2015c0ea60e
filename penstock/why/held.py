"""What holds a job back before anybody may claim it."""

from __future__ import annotations

from penstock.broker.breakers import task_of
from penstock.job import Reason as Cause
from penstock.job import State
from penstock.why.reason import Reason
from penstock.why.subject import Subject
from penstock.wording import counted, distance, one_line


def in_outbox(job: Subject) -> Reason | None:
    """Its transaction has committed, and no keeper has published it."""
    kept = job.books.outbox
    if kept is None or kept.published_at is not None:
        return None
    sentence = f"its message is in the outbox since {distance(kept.created_at, job.now)} and not in Redis yet; "
    if job.found is not None and not job.live_workers:
        sentence += "no worker runs that would bring it there"
    else:
        sentence += "a running worker brings it there"
    return Reason("in-outbox", sentence, {"In the outbox since": kept.created_at, "Queue": kept.queue})


def redis_silent(job: Subject) -> Reason | None:
    """Redis is away."""
    if job.found is not None:
        return None
    if not job.is_known:
        return Reason("redis-silent", "Redis does not answer, and the ledger has not heard of it", is_whole=True)
    return Reason("redis-silent", "Redis does not answer, so nobody can claim it", is_whole=True)


def redis_full(job: Subject) -> Reason | None:
    """Redis takes nothing more, so what is in the outbox stays there."""
    if job.found is None:
        return None
    used, most = job.found.memory
    kept = job.books.outbox
    if not most or used < most or kept is None or kept.published_at is not None:
        return None
    sentence = f"Redis has no memory left ({used / 1e6:,.0f} of {most / 1e6:,.0f} MB), and takes no job"
    return Reason("redis-full", sentence, {"Memory in use": used, "Memory allowed": most})


def not_due(job: Subject) -> Reason | None:
    """It is for later: a delay, the pause before a retry, or a rate limit."""
    due, row = job.due, job.row
    if due is None:
        return None
    facts = {"Due": due}
    if _is_limited(job):
        return Reason(
            "rate-limited", f"the rate limit of its task puts it off; it is due {distance(due, job.now)}", facts
        )
    who = "it"
    if row is not None and row.state is State.SCHEDULED and row.attempts:
        has_snoozed = row.reason == Cause.SNOOZED
        who = "it has snoozed, and" if has_snoozed else f"its retry, after {counted(row.attempts, 'attempt')},"
    return Reason("not-due", f"{who} is due {distance(due, job.now)}", facts)


def _is_limited(job: Subject) -> bool:
    """Whether a worker has put it aside though its message names no time."""
    parked = job.found.parked if job.found else None
    return bool(parked) and not (parked or {})["headers"].get("eta")


def cancelled(job: Subject) -> Reason | None:
    """It was cancelled while it waited: by our client, or revoked by Celery's, of which only a claim knows."""
    found = job.found
    if found is None or not (found.is_cancelled or found.is_revoked):
        return None
    if not found.is_cancelled:
        sentence = "it was revoked, and ends as soon as a worker claims it"
    elif job.live_workers:
        sentence = "it was cancelled, and a running worker ends it within about a second"
    else:
        sentence = "it was cancelled, and no worker runs that would end it"
    is_whole = found.claim is None and (found.is_cancelled or job.due is None)
    return Reason("cancelled", sentence, {"Cancelled": "yes"}, is_whole=is_whole)


def breaker_open(job: Subject) -> Reason | None:
    """Its task keeps failing, so its jobs are not started for a while."""
    task = one_line(task_of(job.found.blocked)) if job.found else ""
    if not task or job.found is None:
        return None
    breaker = job.found.breaker
    if breaker is None:
        sentence = f"the breaker of {task} has closed, and it is on its way back to its queue"
        return Reason("breaker-closed", sentence, {"Breaker": "closed"}, True)
    facts = {"Breaker": breaker.state, "Breaker since": breaker.since}
    since = distance(breaker.since, job.now)
    if breaker.by:
        note = f" ({one_line(breaker.note)})" if breaker.note else ""
        sentence = (
            f"the breaker of {task} was opened {since} by {one_line(breaker.by)}{note}; it starts when it is closed"
        )
        return Reason("breaker-open", sentence, facts | {"Opened by": breaker.by}, True)
    tried = f"; jobs are tried {distance(breaker.next_at, job.now)}" if breaker.next_at else ""
    sentence = (
        f"its task {task} kept failing ({one_line(breaker.fault)}), so its breaker is {breaker.state} since {since}"
        f"{tried}"
    )
    return Reason("breaker-open", sentence, facts | {"Next probe": breaker.next_at}, True)


def put_aside(job: Subject) -> Reason | None:
    """A worker does not know its task, or it is blocked otherwise."""
    is_blocked = job.row is not None and job.row.state is State.BLOCKED
    reason = job.found.blocked if job.found else ""
    if not (is_blocked or reason):
        return None
    reason = reason or (job.row.reason or "" if job.row else "")
    if not reason.startswith("unknown task"):
        return Reason(
            "blocked", f"it is put aside: {one_line(reason) or 'nobody says why'}", {"Put aside": reason}, True
        )
    task = one_line(reason.removeprefix("unknown task").strip() or (job.row.task if job.row else "its task"))
    sentence = f"no worker that has seen it knows the task {task}; it starts by itself as soon as one does"
    return Reason("unknown-task", sentence, {"Unknown task": task}, is_whole=not _is_paused(job))


def queue_paused(job: Subject) -> Reason | None:
    """Somebody has paused its queue."""
    if not _is_paused(job) or job.found is None or job.found.pause is None:
        return None
    pause = job.found.pause
    note = f" ({one_line(pause.note)})" if pause.note else ""
    facts = {"Paused queue": job.queue, "Paused by": pause.by, "Paused since": pause.at, "Note": pause.note}
    return Reason(
        "queue-paused",
        f"its queue {job.queue} was paused {distance(pause.at, job.now)} by {one_line(pause.by)}{note}",
        {name: value for name, value in facts.items() if value},
    )


def _is_paused(job: Subject) -> bool:
    return job.is_known and job.found is not None and job.found.pause is not None and job.found.claim is None
