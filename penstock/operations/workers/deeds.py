"""What workers are told: to grow, to shrink, to claim no more, to claim again, to end. Each is noted in the audit."""

from __future__ import annotations

import re
import time
from typing import Any

from celery import Celery

from penstock.broker.leases import Lease, leases
from penstock.broker.scripts import Scripts
from penstock.errors import PenstockError
from penstock.operations.broker import broker_of, note
from penstock.operations.workers.asking import ask
from penstock.operations.workers.look import require_worker
from penstock.wording import one_line

OBEY_SECONDS = 1.5
"""How long a worker has to answer what it is told."""
END_SECONDS = 3.0
"""How long is waited until a worker that was told to end is gone, or says that it waits for its jobs."""
LOOK_SECONDS = 0.05
MOST_AT_ONCE = 100
"""Children that a worker grows or shrinks by at once: one more digit is a slip."""
_RAISED = re.compile(r"""\w+\((['"])(?P<sentence>.*)\1,?\)""", re.DOTALL)
"""How Celery answers for a command that has raised."""


class WorkerSilent(PenstockError):
    """A worker did not answer. If it only stands still, it obeys when it goes on; look at it before you repeat that."""


class WorkerRefused(PenstockError):
    """A worker does not do what it is told; the message has its reason."""


def grow(app: Celery, name: str, number: int, *, actor: str) -> str:
    """More children; returns what the worker says.

    Raises:
        WorkerNotFound: there is none of this name; of all deeds here.
        WorkerRefused: it has no room for them, or scales by itself.
        WorkerSilent: it does not answer.
        BrokerUnavailable: Redis does not.
        LedgerUnavailable: it was told, and that could not be noted; of all deeds here.
    """
    return _tell(app, name, "pool_grow", actor, "grow", n=_sensible(number))


def shrink(app: Celery, name: str, number: int, *, actor: str) -> str:
    """Fewer children; those that run a job end after it. Returns what the worker says.

    Raises:
        WorkerRefused: it has not so many, or scales by itself.
        WorkerSilent: it does not answer.
        BrokerUnavailable: Redis does not.
    """
    return _tell(app, name, "pool_shrink", actor, "shrink", n=_sensible(number))


def stop_claiming(app: Celery, name: str, *, actor: str) -> str:
    """Has a worker claim no more, until :func:`claim_again` or its end; what runs goes on.

    Raises:
        WorkerRefused: it is no worker of ours.
        WorkerSilent: it does not answer.
        BrokerUnavailable: Redis does not.
    """
    return _tell(app, name, "stop_claiming", actor, "stop claiming")


def claim_again(app: Celery, name: str, *, actor: str) -> str:
    """Has a worker claim again from the queues that it has stopped claiming from.

    Raises:
        WorkerRefused: it is no worker of ours.
        WorkerSilent: it does not answer.
        BrokerUnavailable: Redis does not.
    """
    return _tell(app, name, "claim_again", actor, "claim again")


def shut_down(app: Celery, name: str, *, actor: str) -> str:
    """Has a worker end once its jobs have. Whatever supervises it may start another one.

    Raises:
        WorkerNotFound: there is none of this name.
        WorkerSilent: nothing shows that it has heard.
        BrokerUnavailable: Redis does not answer.
    """
    with broker_of(app) as scripts:
        require_worker(app, scripts, name)
        before = _lease_of(scripts, name)
        ask(app, "shutdown", [name], LOOK_SECONDS)  # It ends where others answer.
        note(app, actor, "shut down", {"worker": name}, f"{name} was told to end")
        deadline = time.monotonic() + END_SECONDS
        while before is not None and time.monotonic() < deadline:
            now = _lease_of(scripts, name)
            if now is None or now.worker != before.worker:
                return f"{name} has ended"
            if now.draining_seconds is not None:
                return f"{name} claims no more, and ends when its jobs have"
            time.sleep(LOOK_SECONDS)
    if before is None:
        return f"{name} was told to end; it holds no lease, so nobody here sees whether it does"
    raise WorkerSilent(
        f"{name} was told to end, and nothing shows that it does; if it only stands still, it ends when it goes on"
    )


def _tell(app: Celery, name: str, command: str, actor: str, action: str, **arguments: Any) -> str:
    with broker_of(app) as scripts:
        require_worker(app, scripts, name)
        answer = ask(app, command, [name], OBEY_SECONDS, **arguments).get(name)
    # Noted also when nothing came back: a worker that was held up obeys later.
    told = {"worker": name, **arguments, "answer": answer}
    note(app, actor, action, told, f"{name} was told to {action}")
    if answer is None:
        raise WorkerSilent(
            f"{name} was told to {action}, and did not answer within {OBEY_SECONDS:g} s; if it only stands still, it "
            "obeys when it goes on"
        )
    if "ok" not in answer:
        raise WorkerRefused(f"{name} does not {action}: {_reason(answer)}")
    return f"{name}: {one_line(str(answer['ok']))}"


def _reason(answer: Any) -> str:
    error = str(answer.get("error", answer))
    if error.startswith("KeyError"):
        return "it is a worker of stock Celery, or of an older version, and does not know this"
    raised = _RAISED.fullmatch(error)
    return one_line(raised["sentence"] if raised else error)


def _sensible(number: int) -> int:
    if not 1 <= number <= MOST_AT_ONCE:
        raise WorkerRefused(f"{number} children cannot be added or taken away at once; say 1 to {MOST_AT_ONCE}")
    return number


def _lease_of(scripts: Scripts, name: str) -> Lease | None:
    """The lease of the worker of this name that was renewed last."""
    held = [lease for lease in leases(scripts) if lease.hostname == name]
    return min(held, key=lambda lease: lease.renewed_seconds_ago, default=None)
