"""What Celery's worker takes for its consumer of tasks when children claim for themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kombu import Consumer
from kombu.utils.json import dumps

from penstock.broker.keys import PRIORITY_STEPS

SERVE = "penstock_serve"
"""Attribute of a kombu connection: takes the names of the queues from which children are to claim."""


class Queues:
    """Stands for kombu's consumer of tasks: it knows the queues, and consumes none that children can claim from."""

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
        self._broadcasts: dict[str, Broadcasts] = {}

    def consume(self, no_ack: Any = None) -> None:
        """Has the children claim."""
        del no_ack
        for queue in self.queues:
            if getattr(queue.exchange, "type", "direct") == "fanout":
                if queue.name not in self._broadcasts:
                    self._broadcasts[queue.name] = Broadcasts(queue, self.channel)
            else:
                queue(self.channel).declare()
        self._is_consuming = True
        self._tell()

    def cancel(self) -> None:
        """Has them claim no more."""
        if self._is_consuming:
            self._is_consuming = False
            self._on_change([])
        for name in tuple(self._broadcasts):
            self._broadcasts.pop(name).cancel()

    close = cancel

    def add_queue(self, queue: Any) -> Any:
        """Another queue; they claim from it with the next ``consume``."""
        self.queues.append(queue)
        return queue

    def cancel_by_queue(self, queue: str) -> None:
        """One queue less."""
        name = getattr(queue, "name", queue)
        self.queues = [kept for kept in self.queues if kept.name != name]
        if name in self._broadcasts:
            self._broadcasts.pop(name).cancel()
        if self._is_consuming:
            self._tell()

    def consuming_from(self, queue: Any) -> bool:
        """Whether the queue is among them."""
        return getattr(queue, "name", queue) in {kept.name for kept in self.queues}

    def qos(self, **_: Any) -> None:
        """Nothing: how many each child claims is its own affair."""

    def _tell(self) -> None:
        self._on_change([queue.name for queue in self.queues])


class Broadcasts:
    """A queue of which every worker gets a copy: Redis tells it to whoever listens, and keeps nothing.

    So this process listens, and puts each message on a list of this worker's own, from which the children claim.
    """

    def __init__(self, queue: Any, channel: Any) -> None:
        self._name = queue.name
        self._channel = channel
        self._consumer = Consumer(
            channel, [queue(channel)], no_ack=True, on_message=self._take, accept=None, auto_declare=True
        )
        self._consumer.consume()

    def _take(self, message: Any) -> None:
        scripts = self._channel.scripts
        scripts.client.lpush(scripts.keys.ready(self._name, 0), dumps(message._raw))
        scripts.call("wake", self._name, *PRIORITY_STEPS)

    def cancel(self) -> None:
        """Listens no more; what nobody has claimed is this worker's alone, and ends with it."""
        self._consumer.cancel()
        scripts = self._channel.scripts
        scripts.client.delete(scripts.keys.ready(self._name, 0))
