"""What this process knows of its deployment: its settings, and the way to Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from penstock.client.signals import announced
from penstock.config import Settings
from penstock.job import State
from penstock.message import Arguments, Template
from penstock.threads import in_a_thread

if TYPE_CHECKING:
    from penstock.broker.hearing import Hearing
    from penstock.broker.publisher import Producers
    from penstock.broker.scripts import Scripts


MOST_JOBS, MOST_BYTES = 1000, 4_000_000
"""Of one call to Redis, which serves nobody else for a few milliseconds meanwhile; or a single job that is larger."""


class Outgoing(NamedTuple):
    """A job on its way to its queue."""

    id: str
    template: Template
    arguments: Arguments


class Destination(NamedTuple):
    """What messages have in common that go to Redis in one call."""

    queue: str
    step: int
    due: datetime | None

    @property
    def due_ms(self) -> int:
        """Milliseconds since 1970; 0: at once."""
        return int(self.due.timestamp() * 1000) if self.due else 0


class Publisher:
    """What this process knows of its deployment: the settings, and the way to Redis."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        """The settings that this publisher was made with."""

    def publish(self, destination: Destination, jobs: list[Outgoing]) -> None:
        """Sends jobs, all of them or none.

        Raises:
            BrokerUnavailable: Redis did not take them.
        """
        self.begin(destination, jobs)()

    def begin(self, destination: Destination, jobs: list[Outgoing]) -> Callable[[], None]:
        """Sends jobs; a call of what is returned waits until Redis has taken them."""
        messages, tell = announced(jobs)
        wait = self.begin_quietly(destination, messages)
        if tell is not None:
            wait()
            return tell
        return wait

    def begin_quietly(self, destination: Destination, messages: list[tuple[str, bytes]]) -> Callable[[], None]:
        """Sends pairs of id and message, without a signal."""
        return self._producers.begin(destination.queue, destination.step, messages, destination.due_ms).wait

    def waiting_states(self, jobs: Sequence[tuple[str, str | None]]) -> list[State | None]:
        """Where jobs wait, of which are given the ids and, where they are known, the queues.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        from penstock.broker.waiting import waiting_states

        with self.broker() as scripts:
            return waiting_states(scripts.client, scripts.keys, jobs)

    @contextmanager
    def broker(self) -> Iterator[Scripts]:
        """The way to Redis, for questions.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        from penstock.broker.connection import translated
        from penstock.broker.scripts import Scripts

        with translated(self.settings.redis_url):
            yield Scripts(self._producers.client, self._producers.keys)

    @cached_property
    def hearing(self) -> Hearing:
        """Where this process hears of ended jobs."""
        from penstock.broker.hearing import hearing_of

        return hearing_of(self.settings.redis_url, self.settings.broker_options)

    async def ahearing(self) -> Hearing:
        """The same for coroutines: what is imported at first use does not hold up their loop."""
        return self.hearing if "hearing" in self.__dict__ else await in_a_thread(getattr, self, "hearing")

    @cached_property
    def _producers(self) -> Producers:
        from penstock.broker.publisher import Producers

        return Producers(self.settings.redis_url, self.settings.broker_options)


_publisher: Publisher | None = None
_publisher_lock = threading.Lock()


def configure(settings: Settings) -> None:
    """Makes this process submit and read with ``settings`` instead of what the environment says."""
    global _publisher
    with _publisher_lock:
        _publisher = Publisher(settings)


def publisher() -> Publisher:
    """The publisher of this process; made from the environment at first use."""
    global _publisher
    if _publisher is None:
        with _publisher_lock:
            _publisher = _publisher or Publisher(Settings.load())
    return _publisher
