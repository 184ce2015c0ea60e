"""kombu's Redis transport with another consuming half: claims instead of BRPOP and ``unacked``.

Publishing, fanout, remote control and events are kombu's own. A connection whose ``claims`` attribute is set, as the
worker's consumer does, claims; any other connection consumes as kombu does, with the queues that need no answers.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import chain
from queue import Empty
from types import MappingProxyType
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, _transport_cache, redis
from kombu.utils.json import dumps
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from penstock.broker import envelope, queues
from penstock.broker.claims import Claims
from penstock.broker.keys import FIELD_SEPARATOR, PRIORITY_STEPS, STEP_SEPARATOR, Keys
from penstock.broker.scripts import Scripts, Source, claim_reply, script
from penstock.message import ENQUEUED_AT

logger = logging.getLogger(__name__)
CLAIMS = "penstock_claims"
"""Attribute of a kombu connection: the claims of the worker that consumes through it."""
UNHEARD = "penstock_unheard"
"""Attribute of a kombu connection: its fanout messages need not be answered one by one, as a worker's events."""
ANSWERS_AT_ONCE = 64
WAKE_SECONDS = 2
"""How long an idle claimer waits for a token before it asks again; a dead connection is noticed as soon."""
FULL_SECONDS = 0.01
"""How long a worker without an event loop waits for room when it holds all that it may."""
OVERDUE_SECONDS = 3.0
"""How much later than promised an answer may come before its connection counts as dead."""
POLL_SECONDS = 30.0
"""How long an idle claimer goes without a claim. Tokens make it claim at once; this is for one that got lost."""
REPEATED = "penstock_repeated"
"""In the properties of a message whose publishing failed: its nonce, for the repetition."""


def install() -> None:
    """Makes ``redis://``, ``rediss://`` and ``sentinel://`` mean this transport, in this process.

    The aliases are replaced because ``broker_transport = "penstock…:Transport"`` would change the URL's scheme, and
    everything that reads it, Flower's broker page first, would no longer know it for Redis. Called by ``make_app``
    and ``adopt``; more than once does no harm.
    """
    for scheme, transport in (("redis", Transport), ("rediss", Transport), ("sentinel", SentinelTransport)):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{transport.__name__}"
        _transport_cache.pop(scheme, None)


class QoS(redis.QoS):
    """Counts what the whole worker holds, whichever connection it came by."""

    restore_at_shutdown = False

    def can_consume(self) -> bool:
        """Whether another message may be claimed."""
        claims = self.channel.claims
        if claims is None:
            return bool(super().can_consume())
        return not claims.is_held_back and (not self.prefetch_count or claims.held < self.prefetch_count)

    def credit(self) -> int:
        """How many more messages may be claimed."""
        return self.prefetch_count - self.channel.claims.held if self.prefetch_count else 1 << 30

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """kombu's, which goes by this host's clock. A worker that claims leaves it to its keeper."""
        if self.channel.claims is None:
            super().restore_visible(*args, **kwargs)

    def append(self, message: Any, delivery_tag: str) -> None:
        """A claimed message is recorded already."""
        if self.channel.claims is None:
            super().append(message, delivery_tag)


class Channel(redis.Channel):
    """A channel to one Redis server, with our consuming half."""

    QoS = QoS
    socket_timeout = socket_connect_timeout = 5.0
    """Seconds; kombu would wait for ever for a server that has gone without a word. Transport options override it."""
    claims: Claims | None = None
    """Set while this channel consumes messages that have to be answered."""

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self._seems_empty = False
        self._awaits_claim = False
        self._polled = time.monotonic()
        self._producer = uuid.uuid4().hex
        self._sequence = 0
        self._scripts: Scripts | None = None
        self._speaker: Any = None
        self._unanswered = 0

    @property
    def scripts(self) -> Scripts:
        """The scripts over one client of this channel. It is a plain one: Keys has put the prefix in already."""
        if self._scripts is None:
            self._scripts = Scripts(Redis(connection_pool=self.pool), Keys(self.global_keyprefix))
        return self._scripts

    # -- consuming ----------------------------------------------------------------------------------------------

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        """Starts claiming when the queue's messages have to be answered and this is a worker's connection."""
        if not no_ack and queue not in self._fanout_queues:
            self.claims = getattr(self.connection.client, CLAIMS, None)
        self._seems_empty = False
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Asks for messages, or waits for a token when there seemed to be none. kombu's poller calls this."""
        if self.claims is None:
            super()._brpop_start(timeout)
        elif self.claims.worker:
            self._in_poll = self.client.connection
            self._brpop_sent_at = time.monotonic()
            self._awaits_claim = not self._may_rest()
            if self._awaits_claim:
                self._send_claim()
            else:
                keys = [self.scripts.keys.wake(queue) for queue in self.active_queues]
                self.client.connection.send_command("BLPOP", *keys, WAKE_SECONDS)

    def _may_rest(self) -> bool:
        rest = POLL_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311  not in step with others
        if self.claims is not None and self.claims.unknown:
            rest = WAKE_SECONDS  # Nobody pushes tokens for what is put aside.
        if time.monotonic() - self._polled > rest:
            self._seems_empty = False
        return self._seems_empty

    def _send_claim(self) -> None:
        claims = self.claims
        assert claims is not None
        self._polled = time.monotonic()
        arguments = claims.next_claim(self._sources(claims.unknown), self.qos.credit())
        self.client.connection.send_command("EVALSHA", script("claim").sha, 0, self.global_keyprefix, *arguments)

    def _sources(self, unknown: tuple[Source, ...]) -> list[Source]:
        """Lists to claim from: strict priority, and within a priority the queues in turn, as kombu serves them."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        forgotten = [source for source in unknown if source.queue in queues]
        return forgotten + [Source(queue, step) for step in self.priority_steps for queue in queues]

    def _brpop_read(self, **options: Any) -> bool:
        """Takes the answer to what :meth:`_brpop_start` sent. kombu's poller calls this."""
        if self.claims is None:
            return bool(super()._brpop_read(**options))
        try:
            reply = self._answer()
            if not self._awaits_claim and reply is not None and self._take_token(reply[0].decode()):
                # At once, and waiting for it: an idle worker has nothing else to do, and a turn of the loop costs more.
                self._awaits_claim = True
                self._send_claim()
                reply = self._answer()
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        if self._awaits_claim:
            return self._take_claim(reply)
        raise Empty

    def drop_if_overdue(self) -> None:
        """Ends a connection that has nobody at its other end: a server answers within ``WAKE_SECONDS``.

        By a shutdown of the socket, which the poller sees at once, from whichever thread it comes.
        """
        connection, sent = self._in_poll, self._brpop_sent_at
        if self.claims is None or not connection or sent is None or connection._sock is None:
            return
        if time.monotonic() - sent > WAKE_SECONDS + OVERDUE_SECONDS and not redis._socket_readable(connection._sock):
            logger.warning("Redis has not answered for %.0f s; connecting anew", time.monotonic() - sent)
            with contextlib.suppress(OSError):
                connection._sock.shutdown(socket.SHUT_RDWR)

    def _answer(self) -> Any:
        try:
            return self.client.connection.read_response()
        except NoScriptError:
            self.scripts.client.script_load(script("claim").text)
            raise Empty from None
        except self.connection_errors:
            self.client.connection.disconnect()
            raise

    def _take_token(self, wake_list: str) -> bool:
        """A token says that its queue has something. One of a queue that was cancelled meanwhile is for others."""
        if any(self.scripts.keys.wake(queue) == wake_list for queue in self.active_queues):
            self._seems_empty = False
            return bool(self.qos.can_consume())
        self.scripts.client.lpush(wake_list, 1)
        return False

    def _take_claim(self, reply: Any) -> bool:
        claims = self.claims
        assert claims is not None
        answer = claim_reply(reply)
        if not answer.has_lease:
            claims.refuse()
            raise Empty
        self._seems_empty = not claims.receive(answer)
        if answer.messages:
            self._queue_cycle.rotate(answer.messages[0].queue)
        if answer.revoked_version > claims.revoked_version:
            self._learn_revocations(claims)
        delivered = False
        for queue, payload in claims.arrivals():
            self.connection._deliver(payload, queue)
            delivered = True
        if not delivered:
            raise Empty
        return True

    def _learn_revocations(self, claims: Claims) -> None:
        """Before anything of this batch is delivered: a job that was revoked while it waited must not start."""
        client, keys = self.scripts.client, self.scripts.keys
        first = f"({claims.revoked_version}"
        ids = client.zrange(keys.revoked, first, "+inf", byscore=True, withscores=True)
        stamps = client.zrange(keys.revoked_stamps, first, "+inf", byscore=True, withscores=True)
        claims.learn(
            [id.decode() for id, _ in ids],
            [tuple(stamp.decode().split(FIELD_SEPARATOR, 1)) for stamp, _ in stamps],
            int(max((version for _, version in chain(ids, stamps)), default=0)),
        )

    # -- answering ----------------------------------------------------------------------------------------------

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Settles a claim. It needs no connection of its own, so it works after this channel was closed."""
        if self.claims is None:
            super().basic_ack(delivery_tag, multiple=multiple)
        else:
            self.claims.acknowledge(delivery_tag)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Puts the message last in line, as kombu does, or drops it."""
        if self.claims is None:
            super().basic_reject(delivery_tag, requeue=requeue)
        elif requeue:
            self.claims.settle(delivery_tag, "requeue")
        else:
            self.claims.acknowledge(delivery_tag)

    def close(self) -> None:
        """Closes the connections. What is claimed stays claimed; an unread answer is asked for again elsewhere."""
        if self.claims is not None:
            self._in_poll = None
        super().close()

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """kombu's; a worker must be able to start on a full server, or nobody ever empties it."""
        try:
            super()._queue_bind(exchange, routing_key, pattern, queue)
        except ResponseError as error:
            if not str(error).startswith(("OOM", "command not allowed when used memory")):
                raise
            logger.warning("Redis is full: the binding of %s is not noted there; consuming goes on", queue)

    # -- publishing ---------------------------------------------------------------------------------------------

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        """Puts a job on its queue, once, however often kombu repeats the call after a lost reply.

        Replies of remote control and messages of other libraries go kombu's way.
        """
        headers = message.get("headers") or {}
        if "_publish_batch" in kwargs or not ("task" in headers and "id" in headers) or queue in self._expires:
            super()._put(queue, message, **kwargs)
            return
        properties = message["properties"]
        producer, sequence = properties.pop(REPEATED, None) or self._next_call()
        step = self.priority(self._get_message_priority(message, reverse=False))
        is_new = not headers.get("retries")
        if is_new:
            headers.setdefault(ENQUEUED_AT, datetime.now(UTC).isoformat())
        # A retry that has no such time is of a job that a stock producer has sent: nobody counted it.
        id = str(headers["id"]) if ENQUEUED_AT in headers else ""
        try:
            self.scripts.publish(producer, sequence, queue, step, [(id, dumps(message))], is_new=is_new)
        except (RedisError, OSError):
            # kombu's retry passes the same properties again, and nobody else ever does.
            properties[REPEATED] = producer, sequence
            raise

    def _purge(self, queue: str) -> int:
        """Deletes what is ready, as kombu does, for `celery purge`; the balance sheet must know of the jobs."""
        if tuple(self.priority_steps) != PRIORITY_STEPS or self.sep != STEP_SEPARATOR:
            return int(super()._purge(queue))
        gone = 0
        for raws in queues.purge_ready(self.scripts, queue):
            gone += len(raws)
            if accepted := queues.accepted_among(raws):
                self.scripts.tally("purged", queue, accepted)
            if kept := envelope.from_outbox(raws):
                # They come back, because this cannot record their end; whoever claims them does, and starts none.
                self.scripts.revoke(kept.values())
        return gone

    def _put_fanout(self, exchange: str, message: dict[str, Any], routing_key: str, **kwargs: Any) -> None:
        """Publishes, by one client for all; a worker's events do not even wait for their answers."""
        if "_publish_batch" in kwargs:
            super()._put_fanout(exchange, message, routing_key, **kwargs)
            return
        payload = dumps(message)
        for topic in self._get_publish_topics(exchange, routing_key):
            name = f"{self.global_keyprefix}{topic}"
            if getattr(self.connection.client, UNHEARD, False):
                self._publish_unheard(name, payload)
            else:
                self.scripts.client.publish(name, payload)

    def _publish_unheard(self, name: str, payload: str) -> None:
        """Sends, and reads the answers when there are many: they have come by then. Order is kept, errors come late."""
        if self._speaker is None:
            self._speaker, self._unanswered = self.pool.get_connection(), 0
        try:
            self._speaker.send_command("PUBLISH", name, payload)
            self._unanswered += 1
            if self._unanswered >= ANSWERS_AT_ONCE:
                while self._unanswered:
                    self._speaker.read_response()
                    self._unanswered -= 1
        except (RedisError, OSError):
            speaker, self._speaker = self._speaker, None
            speaker.disconnect()
            raise

    def _next_call(self) -> tuple[str, int]:
        self._sequence += 1
        return self._producer, self._sequence


class SentinelChannel(Channel, redis.SentinelChannel):
    """A channel to the master that Sentinel names."""

    sentinel_kwargs: Mapping[str, Any] = MappingProxyType(
        {"socket_timeout": 2.0, "socket_connect_timeout": 2.0, "retry": Retry(NoBackoff(), 0)}
    )
    """A Sentinel that is down is passed over: the next one knows as much. Transport options override it."""


class Poller(redis.MultiChannelPoller):
    """kombu's, which waits for what comes in by sockets alone."""

    def get(self, callback: Any, timeout: float | None = None) -> Any:
        """Waits for a moment only while nothing more may be claimed: what makes room, in another thread or greenlet,
        does not come in by a socket. With an event loop nobody calls this.
        """
        if any(channel.claims is not None and not channel.qos.can_consume() for channel in tuple(self._channels)):
            timeout = FULL_SECONDS if timeout is None else min(timeout, FULL_SECONDS)
        return super().get(callback, timeout)


class Transport(redis.Transport):
    """``redis://``, ``rediss://`` and ``redis+socket://``."""

    Channel = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = Poller()

    def _deliver(self, message: Any, queue: str) -> None:
        """Hands a message to the consumer of its queue; gives it back when that has been cancelled meanwhile."""
        if queue in self._callbacks:
            super()._deliver(message, queue)
            return
        claims: Claims | None = getattr(self.client, CLAIMS, None)
        token = message["properties"].get("delivery_tag", "")
        if claims is None or not claims.settle(token, "return"):
            super()._deliver(message, queue)


class SentinelTransport(Transport):
    """``sentinel://``."""

    default_port = redis.SentinelTransport.default_port
    Channel = SentinelChannel
