"""Putting messages on queues: one round trip per call, and a call whose reply was lost is carried out once.

A connection has an identity and numbers its calls, and Redis remembers the last number for a minute. A call without
a reply is repeated with the same number, so that it makes its jobs or finds them made, and never makes them twice.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hiredis import pack_command
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,
    NoScriptError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from penstock.broker.connection import connect, unavailable
from penstock.broker.keys import Keys
from penstock.broker.scripts import script
from penstock.errors import BrokerUnavailable
from penstock.message import sealed

KEPT = 10
"""Connections that stay open while nobody publishes; as many more as threads publish at the same moment are opened."""
CONNECT_SECONDS, ANSWER_SECONDS = 2.0, 3.0
PASSING = ("READONLY", "MASTERDOWN", "LOADING", "BUSY")
"""Refusals that a restart or a failover brings along, and that are worth another try."""


@dataclass(frozen=True)
class Patience:
    """How long a call that gets no answer is repeated.

    Args:
        seconds: after these no further attempt begins; an attempt takes 5 seconds at most.
        repeats: attempts after the first.
        first, step, most: seconds before the first repeat, more before each later one, and at most.
    """

    seconds: float = 5.0
    repeats: float = math.inf
    first: float = 0.0
    step: float = 0.2
    most: float = 1.0

    def pauses(self, started: float) -> Iterator[float]:
        """Seconds to wait before each repeat of a call that started then; ends when it is time to give up."""
        deadline = started + self.seconds
        pause, made = self.first, 0
        while made < self.repeats and time.monotonic() + pause < deadline:
            yield pause
            made += 1
            pause = min(pause + self.step, self.most)


PATIENCE = Patience()


class Producers:
    """The connections through which this process publishes; for all threads, and anew in a forked child."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        """Opens nothing.

        Args:
            url: in kombu's spelling.
            options: kombu's transport options.
        """
        options = options or {}
        self._url = url
        self.keys = Keys(options.get("global_keyprefix") or "")
        self.client = connect(
            url, options, name="producer", connect_seconds=CONNECT_SECONDS, answer_seconds=ANSWER_SECONDS
        )
        """For what may be repeated; publishing has connections of its own."""
        self._owner = os.getpid()
        self._idle: list[_Producer] = []

    def publish(
        self,
        queue: str,
        step: int,
        messages: Sequence[tuple[str, bytes]],
        due_ms: int = 0,
        patience: Patience = PATIENCE,
        *,
        is_new: bool = True,
    ) -> None:
        """Puts messages on a queue, all of them or none.

        Args:
            messages: pairs of job id and message, still without the end that ``message.sealed`` gives it. Without an
                id a message is not noted as waiting.
            due_ms: when they may start, in milliseconds since 1970; 0: at once.
            is_new: they are new jobs, and not jobs that go on.

        Raises:
            BrokerUnavailable: Redis refused them or did not answer in time.
        """
        self.begin(queue, step, messages, due_ms, patience, is_new=is_new).wait()

    def begin(
        self,
        queue: str,
        step: int,
        messages: Sequence[tuple[str, bytes]],
        due_ms: int = 0,
        patience: Patience = PATIENCE,
        *,
        is_new: bool = True,
    ) -> Sending:
        """As ``publish``, without waiting for the answer: the caller has other work while Redis has this."""
        try:
            producer = self._idle_here().pop()
        except IndexError:
            producer = self._new_producer()
        call = producer.next_call(self.keys.prefix, queue, step, due_ms, is_new, messages)
        sending = Sending(self, producer, call, patience.pauses(time.monotonic()))
        producer.post(call)
        return sending

    def give_back(self, producer: _Producer) -> None:
        """Keeps a connection for the next call. It is closed by now, or has no answer left to read."""
        idle = self._idle_here()
        if len(idle) < KEPT:
            idle.append(producer)
        else:
            producer.connection.disconnect()

    def unavailable(self, error: Exception) -> BrokerUnavailable:
        """The error in a sentence with its remedy."""
        return unavailable(self._url, error)

    def _idle_here(self) -> list[_Producer]:
        """The connections of this process; a forked child must not share its parent's sockets and numbers."""
        if self._owner != os.getpid():
            self._owner, self._idle = os.getpid(), []
        return self._idle

    def _new_producer(self) -> _Producer:
        pool = self.client.connection_pool
        return _Producer(pool.connection_class(**pool.connection_kwargs))


class Sending:
    """A call that was sent, or could not be, and whose answer nobody has read yet."""

    def __init__(self, producers: Producers, producer: _Producer, call: list[Any], pauses: Iterator[float]) -> None:
        self._producers = producers
        self._producer = producer
        self._call = call
        self._pauses = pauses

    def wait(self) -> None:
        """Reads the answer, and repeats the call until there is one or patience ends. May be called once.

        Raises:
            BrokerUnavailable: Redis refused it or did not answer in time.
        """
        try:
            try:
                self._producer.read_answer(self._call)
            except (RedisError, OSError) as error:
                self._repeat(error)
        finally:
            self._producer.hang_up()
            self._producers.give_back(self._producer)

    def _repeat(self, error: Exception) -> None:
        for pause in self._pauses:
            self._producer.hang_up()
            if not _may_pass(error):
                break
            time.sleep(pause)
            try:
                self._producer.post(self._call)
                return self._producer.read_answer(self._call)
            except (RedisError, OSError) as again:
                error = again
        self._producer.hang_up()
        refusal = self._producers.unavailable(error)
        if self._producer.is_unanswered:
            refusal = BrokerUnavailable(f"{refusal}; it may have taken the call all the same")
        raise refusal from error


class _Producer:
    """A connection that numbers its calls, under a name that no other has."""

    def __init__(self, connection: Any) -> None:
        """Args:
        connection: redis-py's, not open yet.
        """
        self.connection = connection
        self.is_unanswered = False
        """Whether an attempt at the present call was sent and got no answer."""
        self._failure: Exception | None = None
        self._awaits_answer = False
        self._name = secrets.token_urlsafe(8)
        self._sequence = 0

    def next_call(
        self, prefix: str, queue: str, step: int, due_ms: int, is_new: bool, messages: Sequence[tuple[str, bytes]]
    ) -> list[Any]:
        """What ``lua/publish.lua`` takes, under the next number."""
        self._sequence += 1
        self.is_unanswered = False
        call: list[Any] = [0, prefix, self._name, self._sequence, queue, step, due_ms, int(is_new)]
        tag = f"{self._name}.{self._sequence}."
        for position, (id, unsealed) in enumerate(messages):
            call += (id, sealed(unsealed, f"{tag}{position}"))
        return call

    def post(self, call: list[Any]) -> None:
        """Sends a call, for the first time or again; ``read_answer`` tells of an error."""
        self._failure = None
        try:
            self._send("EVALSHA", script("publish").sha, call)
        except (RedisError, OSError) as error:
            self._failure = error

    def read_answer(self, call: list[Any]) -> None:
        """Waits until the call was carried out."""
        if self._failure is not None:
            raise self._failure
        try:
            self._read()
        except NoScriptError:
            self._send("EVAL", script("publish").text, call)
            self._read()

    def hang_up(self) -> None:
        """Closes a connection on which an answer may still come: the next call would take it for its own.

        That is so after an error, and when a time limit or Ctrl-C has broken a call off at whatever place.
        """
        if self._awaits_answer:
            self.is_unanswered = True
            self.connection.disconnect()
            self._awaits_answer = False

    def _send(self, command: str, named: str, call: list[Any]) -> None:
        connection = self.connection
        try:
            # Not left to redis-py's sending, which would not ask the Sentinels where the master is.
            if not connection.is_connected:
                connection.connect()
            self._awaits_answer = True
            connection.send_packed_command([pack_command((command, named, *call))], check_health=False)
        except BaseException:
            # What was sent in part is not carried out.
            connection.disconnect()
            self._awaits_answer = False
            raise

    def _read(self) -> None:
        try:
            self.connection.read_response()
        except ResponseError:
            self._awaits_answer = False
            raise
        self._awaits_answer = False


def _may_pass(error: Exception) -> bool:
    """Whether another attempt may succeed."""
    if isinstance(error, (AuthenticationError, AuthorizationError)):
        return False
    if isinstance(error, (ConnectionError, TimeoutError, OSError)):
        return True
    return (getattr(error, "status_code", None) or str(error).partition(" ")[0]) in PASSING
