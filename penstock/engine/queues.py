"""What Celery's worker takes for its consumer of tasks when children claim for themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

SERVE = "penstock_serve"
"""Attribute of a kombu connection: takes the names of the queues from which children are to claim."""


class Queues:
    """Stands for kombu's consumer of tasks: it knows the queues, and consumes nothing."""

    on_message = None

    def __init__(self, queues: Iterable[Any], channel: Any, on_change: Callable[[list[str]], None]) -> None:
        """Args:
        queues: kombu's.
        on_change: called with the names of the queues whenever they change.
        """
        self.queues = list(queues)
        self.channel = channel
        self.callbacks: list[Any] = []
        self._on_change = on_change
        self._is_consuming = False

    def consume(self, no_ack: Any = None) -> None:
        """Has the children claim."""
        del no_ack
        for queue in self.queues:
            queue(self.channel).declare()
        self._is_consuming = True
        self._tell()

    def cancel(self) -> None:
        """Has them claim no more."""
        if self._is_consuming:
            self._is_consuming = False
            self._on_change([])

    close = cancel

    def add_queue(self, queue: Any) -> Any:
        """Another queue; they claim from it with the next ``consume``."""
        self.queues.append(queue)
        return queue

    def cancel_by_queue(self, queue: str) -> None:
        """One queue less."""
        name = getattr(queue, "name", queue)
        self.queues = [kept for kept in self.queues if kept.name != name]
        if self._is_consuming:
            self._tell()

    def consuming_from(self, queue: Any) -> bool:
        """Whether the queue is among them."""
        return getattr(queue, "name", queue) in {kept.name for kept in self.queues}

    def qos(self, **_: Any) -> None:
        """Nothing: how many each child claims is its own affair."""

    def _tell(self) -> None:
        self._on_change([queue.name for queue in self.queues])
