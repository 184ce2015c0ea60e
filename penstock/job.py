"""States of a job and the transitions between them. Data only: no I/O, no Celery.

    queued ──► running ──► succeeded
      ▲ │         │  ╲───► failed
      │ ▼         ▼   ╲──► cancelled
    scheduled ◄───╯          (also from queued, scheduled and blocked)

    queued · scheduled · running ──► blocked ──► queued · scheduled · running

`queued`     waits in its queue; also again, after its process has died.
`scheduled`  waits for its due time; a retry waits here too.
`blocked`    is put aside for a reason, and waits until the reason has gone.
`running`    an attempt has started and has not ended.
`succeeded`  `failed`  `cancelled`  are final: a final state never changes.
"""

from enum import StrEnum


class State(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    SCHEDULED = "scheduled"
    BLOCKED = "blocked"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended for good."""
        return self in FINAL


FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})

#: From each state, the states that may follow. The recording judges by it, and a trigger in the database repeats it.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.SCHEDULED, State.BLOCKED}) | FINAL,
    State.SCHEDULED: frozenset({State.RUNNING, State.QUEUED, State.BLOCKED}) | FINAL,
    State.BLOCKED: frozenset({State.RUNNING, State.QUEUED, State.SCHEDULED}) | FINAL,
    # running → running: the attempt's process died and the message was delivered again; running → blocked: it was
    # delivered to a worker that does not know the task.
    State.RUNNING: frozenset({State.RUNNING, State.SCHEDULED, State.QUEUED, State.BLOCKED}) | FINAL,
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}


class Reason(StrEnum):
    """Why a job ended as it did, or waits, where its state alone does not say."""

    ERROR = "error"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    EXPIRED = "expired"
    REJECTED = "rejected"
    IGNORED = "ignored"
    REVOKED = "revoked"
    UNREADABLE = "unreadable"
    UNKNOWN_TASK = "unknown task"
    BREAKER = "breaker"
    UNSERIALISABLE = "unserialisable"
    DISCARDED = "discarded"
    DEADLINE = "deadline"
    BODY = "by its body"
    SNOOZED = "snoozed"


UNSAID = (Reason.ERROR, Reason.REVOKED)
"""Reasons that are the rule for their state."""
