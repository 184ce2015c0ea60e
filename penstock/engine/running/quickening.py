"""What Celery's tracer does for threads and greenlets in general, done for a process that runs one job at a time.

Nothing here changes what a task sees. Each of these is a part of Celery's that the tracer asks for again and again,
made cheaper for the case that a child is; together they are a third of what the tracer takes.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any

from celery import _state
from celery.app import trace
from celery.app.task import Context

from penstock.ledger.backend import LedgerBackend

PLAIN = frozenset({int, bool, float, type(None)})
TOLD_ELSEWHERE = frozenset({*Context.__dict__, "lang", "task", "argsrepr", "kwargsrepr", "compression"})
"""Headers that are no header of an application's own, as Celery's request sees it."""
MOST = 1000
"""Sets of headers that are remembered."""
_saferepr = trace.saferepr


class _Storage(threading.local):
    """In place of Celery's storage by thread and greenlet, which is written in Python."""

    def __init__(self) -> None:
        self.stack: list[Any] = []

    def __release_local__(self) -> None:
        self.stack = []


class _StorageByContext:
    """The same where many jobs share a thread. What is stored never changes: contexts that are copied share it."""

    def __init__(self) -> None:
        self._stack: ContextVar[tuple[Any, ...]] = ContextVar("penstock_stack", default=())

    @property
    def stack(self) -> tuple[Any, ...]:
        return self._stack.get()

    def push(self, value: Any) -> tuple[Any, ...]:
        pushed = (*self._stack.get(), value)
        self._stack.set(pushed)
        return pushed

    def pop(self) -> Any:
        pushed = self._stack.get()
        self._stack.set(pushed[:-1])
        return pushed[-1] if pushed else None

    def __release_local__(self) -> None:
        self._stack.set(())


def _quicken_stack(stack: Any, *, by_context: bool = False) -> None:
    """Celery's stack of tasks or of requests, by its own methods but for the two that every job calls."""
    if not hasattr(stack, "_local"):
        return  # Celery's own for one thread, by USE_FAST_LOCALS.
    if by_context:
        stack._local = contextual = _StorageByContext()
        stack.push, stack.pop = contextual.push, contextual.pop
        return
    storage = stack._local = _Storage()

    def push(value: Any) -> list[Any]:
        pushed = storage.stack
        pushed.append(value)
        return pushed

    def pop() -> Any:
        pushed = storage.stack
        return pushed.pop() if pushed else None

    stack.push, stack.pop = push, pop


def quicken(app: Any, *, by_context: bool = False) -> None:
    """In a child, before the tracers are built.

    Args:
        by_context: whether jobs are told apart by their contexts, and not by their threads.
    """
    _quicken_stack(_state._task_stack, by_context=by_context)
    backend = app.backend
    for task in app.tasks.values():
        if task.request_stack is not None:
            _quicken_stack(task.request_stack, by_context=by_context)
        if isinstance(backend, LedgerBackend) and task._backend is None:
            # Otherwise looked up by thread, four times a job. Ours is the same for all.
            task.backend = backend
    trace.saferepr = _repr


def _repr(value: Any, *limits: Any, **more: Any) -> str:
    """Numbers, which are never cut, without a search for what might contain itself."""
    return repr(value) if type(value) in PLAIN else str(_saferepr(value, *limits, **more))


class CustomHeaders:
    """The headers of an application's own, found once for all messages that have the same ones."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[str, ...]] = {}

    def of(self, headers: dict[str, Any]) -> dict[str, Any] | None:
        """As Celery's request has them; None: there are none."""
        names = tuple(headers)
        custom = self._known.get(names)
        if custom is None:
            if len(self._known) >= MOST:
                self._known.clear()
            custom = self._known[names] = tuple(name for name in names if name not in TOLD_ELSEWHERE)
        return {name: headers[name] for name in custom} or None
