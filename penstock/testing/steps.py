"""The steps of a job's life at which a worker of the tests kills itself.

    claim ─► after claim ─► in body ─► after body ─► before commit ─► after commit ─► before settle ─► after settle
      child ──────────────────────────┘ keeper ──────────────────────────────────────────────────────────┘

They are put around functions of the engine from outside, in the worker process that ``penstock.testing.worker`` starts
and nowhere else: the engine has no hook, no variable and no branch for them.
"""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

from celery import Celery, current_task

from penstock.broker.claims import Claims
from penstock.broker.scripts import Scripts, Settlement
from penstock.ledger.recorder import Recorder
from penstock.ledger.recording.plain import PlainSuccess
from penstock.ledger.records import Record, Step
from penstock.ledger.values import claim_token
from penstock.testing.calls import owner_of


def count_starts(app: Celery, path: str) -> None:
    """Writes the id of each job whose body begins here into a file, a line each."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for task in app.tasks.values():
        _wrap(task, "run", _noting(file))


def _noting(file: int) -> Callable[[Any], Any]:
    def noting(original: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            os.write(file, f"{current_task.request.id}\n".encode())
            return original(*args, **kwargs)

        return run

    return noting


def arm(app: Celery, step: str, job: str, after_call: str) -> None:
    """Has this worker kill itself, all of its processes at once, when the job comes to the step.

    Args:
        after_call: ``module:function``; ``in body`` is then right after the body's first call of it.
    """
    if os.getpgrp() != os.getpid():
        raise RuntimeError("a worker that kills its process group has to lead one of its own")
    STEPS[step](app, job, after_call)


def _die() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _after_claim(_app: Celery, job: str, _call: str) -> None:
    def receiving(original: Any) -> Any:
        def receive(self: Claims, reply: Any) -> bool:
            is_more: bool = original(self, reply)
            if any(job.encode() in message.raw for message in reply.messages):
                _die()
            return is_more

        return receive

    _wrap(Claims, "receive", receiving)


def _in_body(app: Celery, job: str, call: str) -> None:
    if call:
        owner, name = owner_of(call)
        _wrap(owner, name, lambda original: _with(original, lambda: _is(job), after=True))
    else:
        _around_bodies(app, job, after=False)


def _after_body(app: Celery, job: str, _call: str) -> None:
    _around_bodies(app, job, after=True)


def _around_bodies(app: Celery, job: str, *, after: bool) -> None:
    for task in app.tasks.values():
        _wrap(task, "run", lambda original: _with(original, lambda: _is(job), after=after))


def _with(original: Any, is_it: Callable[[], bool], *, after: bool) -> Any:
    if inspect.iscoroutinefunction(original):

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            if not after and is_it():
                _die()
            try:
                return await original(*args, **kwargs)
            finally:
                if after and is_it():
                    _die()

        return awaited

    def called(*args: Any, **kwargs: Any) -> Any:
        if not after and is_it():
            _die()
        try:
            return original(*args, **kwargs)
        finally:
            if after and is_it():
                _die()

    return called


def _is(job: str) -> bool:
    return bool(current_task and current_task.request.id == job)


def _around_commit(job: str, *, after: bool) -> None:
    def writing(original: Any) -> Any:
        def write(self: Recorder, records: Sequence[Record | PlainSuccess]) -> Any:
            is_it = any(_ends(record, job) for record in records)
            if is_it and not after:
                _die()
            written = original(self, records)
            if is_it:
                _die()
            return written

        return write

    _wrap(Recorder, "_in_one_transaction", writing)


def _ends(record: Record | PlainSuccess, job: str) -> bool:
    if isinstance(record, PlainSuccess):
        return record.id == job
    return record.step is Step.END and record.delivery.id == job


def _around_settling(job: str, *, after: bool) -> None:
    tokens: set[str | None] = set()

    def writing(original: Any) -> Any:
        def write(self: Recorder, records: Sequence[Record | PlainSuccess]) -> Any:
            tokens.update(each.delivery.token for each in records if isinstance(each, Record) and _ends(each, job))
            return original(self, records)

        return write

    def ending(original: Any) -> Any:
        def end(self: Scripts, claimer: str, queue: str, claims: Sequence[str], ids: Sequence[str]) -> int:
            ended: int = _at(job in ids, lambda: original(self, claimer, queue, claims, ids))
            return ended

        return end

    def settling(original: Any) -> Any:
        def settle(self: Scripts, settlements: Iterable[Settlement]) -> list[int]:
            chosen = list(settlements)
            is_it = any(claim_token(each.claimer, each.token) in tokens for each in chosen)
            answers: list[int] = _at(is_it, lambda: original(self, chosen))
            return answers

        return settle

    def _at(is_it: bool, call: Callable[[], Any]) -> Any:
        if is_it and not after:
            _die()
        answer = call()
        if is_it:
            _die()
        return answer

    _wrap(Recorder, "_in_one_transaction", writing)
    _wrap(Scripts, "end", ending)
    _wrap(Scripts, "settle", settling)


def _wrap(owner: Any, name: str, wrapped: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    setattr(owner, name, wraps(original)(wrapped(original)))


STEPS: dict[str, Callable[[Celery, str, str], None]] = {
    "after claim": _after_claim,
    "in body": _in_body,
    "after body": _after_body,
    "before commit": lambda _app, job, _call: _around_commit(job, after=False),
    "after commit": lambda _app, job, _call: _around_commit(job, after=True),
    "before settle": lambda _app, job, _call: _around_settling(job, after=False),
    "after settle": lambda _app, job, _call: _around_settling(job, after=True),
}
