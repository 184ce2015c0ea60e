"""States of a job and the transitions between them. Data only: no I/O, no Celery.

    queued ──► running ──► succeeded
      ▲ │         │  ╲───► failed
      │ ▼         ▼   ╲──► cancelled
    scheduled ◄───╯          (also from queued and scheduled)

`queued`     waits in its queue.
`scheduled`  waits for its due time; a retry waits here too.
`running`    an attempt has started and has not ended.
`succeeded`  `failed`  `cancelled`  are final: a final state never changes.
"""

from enum import StrEnum


class State(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended for good."""
        return self in FINAL


FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})

#: From each state, the states that may follow. SQL repeats it in the WHERE clause of every UPDATE.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.SCHEDULED}) | FINAL,
    State.SCHEDULED: frozenset({State.RUNNING, State.QUEUED}) | FINAL,
    # running → running: the attempt's process died and the message was delivered again.
    State.RUNNING: frozenset({State.RUNNING, State.SCHEDULED, State.QUEUED}) | FINAL,
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}


class Reason(StrEnum):
    """Why a final job ended as it did, where its state alone does not say."""

    ERROR = "error"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    EXPIRED = "expired"
    REJECTED = "rejected"
    IGNORED = "ignored"
    REVOKED = "revoked"


def may_become(state: State) -> tuple[State, ...]:
    """The states from which ``state`` can be reached, for guarded UPDATEs."""
    return tuple(origin for origin, following in TRANSITIONS.items() if state in following)
