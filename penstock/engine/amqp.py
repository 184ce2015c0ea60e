"""Celery's own publishing, ``delay()`` and ``apply_async()``, in one round trip.

A plain send (JSON, one queue behind a direct exchange, no producer or connection of the caller's) goes through
``penstock.broker.publisher``; signals, events, headers and routing are Celery's. Everything else goes Celery's way.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple, cast

import celery.app.amqp
from celery import Celery, signals
from celery._state import get_current_task
from kombu import Connection, Producer, messaging, serialization
from kombu.common import Broadcast
from kombu.exceptions import LimitExceeded, OperationalError
from kombu.utils.json import JSONEncoder

from penstock.broker.hearing import Hearing, hearing_of
from penstock.broker.keys import PRIORITY_STEPS, STEP_SEPARATOR, step_of
from penstock.broker.publisher import Patience, Producers
from penstock.engine.queues import SERVE, Queues
from penstock.errors import BrokerUnavailable, OutboxError
from penstock.ledger import collecting
from penstock.ledger.records import FollowUp
from penstock.ledger.values import as_time
from penstock.message import ENQUEUED_AT, GOES_ON, OUTBOX, PLAIN, encoder, origin, sealed, unsealed
from penstock.outbox import Outbox, current_outbox

TRANSPORTS = ("redis", "rediss", "sentinel")
OWN_ADDRESS = ("host", "port", "user", "password", "vhost", "use_ssl", "login_method", "transport")
"""Settings, ``broker_…``, that say where the broker is in other words than its URL."""
PRODUCERS_OWN = frozenset({"mandatory", "immediate", "content_type", "content_encoding", "timeout", "confirm_timeout"})
"""Options that kombu's producer acts on; all others become properties of the message."""
ONCE_MORE = Patience(repeats=1)
"""For ``retry=False``: the connection may have been closed while nobody used it, which is no error yet."""
SHORT = 100
"""Characters up to which a text is short."""

to_json = encoder(JSONEncoder)
"""Headers may hold what only kombu can write as JSON: UUIDs, times, decimals."""


class _Defaults(NamedTuple):
    """Settings of publishing."""

    serializer: str
    compression: str | None
    retry: bool
    retry_policy: Mapping[str, Any]
    patience: Patience


class AMQP(celery.app.amqp.AMQP):
    """Celery's, with a short way for plain sends; ``app.amqp_cls`` names it."""

    def __init__(self, app: Celery) -> None:
        super().__init__(app)
        self._pool = _LatePool(self)

    @property
    def producer_pool(self) -> _LatePool:
        """Celery takes a producer before it knows whether it needs one; from this pool it costs nothing."""
        return self._pool

    publisher_pool = producer_pool

    @property
    def kombu_producers(self) -> Any:
        """Celery's own pool."""
        return super().producer_pool

    @cached_property
    def _celery_sender(self) -> Any:
        return self._create_task_sender()

    @cached_property
    def _producers(self) -> Producers | None:
        """None: the broker is not one that we publish to."""
        conf = self.app.conf
        connection = self.app.connection_for_write()
        options = connection.transport_options or {}
        if connection.transport_cls not in TRANSPORTS or (connection.alt and connection.transport_cls != "sentinel"):
            return None
        if not _names_lists_as_we_do(options) or any(conf[f"broker_{name}"] for name in OWN_ADDRESS):
            return None
        return Producers(conf.broker_write_url, options)

    @cached_property
    def hearing(self) -> Hearing | None:
        """Where this process hears of ended jobs; None: the broker is not ours."""
        conf = self.app.conf
        return hearing_of(conf.broker_read_url, conf.broker_transport_options) if self._producers else None

    @cached_property
    def _speaker(self) -> _Speaker | None:
        """None: events go out under names that only kombu's channel knows, or not to everybody."""
        connection = self.app.connection_for_write()
        options = connection.transport_options or {}
        is_usual = options.get("fanout_prefix", True) is True and options.get("fanout_patterns", True) is True
        usual = is_usual and connection.transport_cls != "sentinel" and self.app.conf.event_serializer == "json"
        return _Speaker(self._producers) if usual and self._producers else None

    @cached_property
    def _defaults(self) -> _Defaults:
        """Read once, as Celery does: a look at the configuration costs more than encoding a message."""
        conf = self.app.conf
        policy = dict(conf.task_publish_retry_policy)
        return _Defaults(
            conf.task_serializer, conf.task_compression, conf.task_publish_retry, policy, _patience(policy)
        )

    def TaskConsumer(self, channel: Any, queues: Any = None, accept: Any = None, **kwargs: Any) -> Any:
        """Celery's; for a worker whose children claim for themselves, what stands for it."""
        serve = getattr(channel, SERVE, None)
        if serve is None:
            return super().TaskConsumer(channel, queues=queues, accept=accept, **kwargs)
        return Queues(queues or self.queues.consume_from.values(), channel.default_channel, serve)

    def _retry_publish(self, publish: Any, *args: Any, **kwargs: Any) -> Any:
        """Celery's way to send callbacks, the next steps of chains and the bodies of chords: parts of an outcome."""
        if _is_eager():
            return super()._retry_publish(publish, *args, **kwargs)
        with collecting.following_up():
            return super()._retry_publish(publish, *args, **kwargs)

    def as_task_v2(self, *task: Any, **options: Any) -> Any:
        """Celery's; short and plain arguments are shown by ``repr``, which is 20 times as fast as ``saferepr``."""
        args, kwargs = (*task[2:4], None, None)[:2]
        if options.get("argsrepr") is None and _is_short(args or ()):
            options["argsrepr"] = repr(args or ())
        if options.get("kwargsrepr") is None and (not kwargs or (type(kwargs) is dict and _is_short(kwargs.values()))):
            options["kwargsrepr"] = repr(kwargs or {})
        options["origin"] = options.get("origin") or origin()
        return super().as_task_v2(*task, **options)

    def send_task_message(self, producer: Any, name: str, message: Any, **options: Any) -> Any:
        """Publishes a task's message, as Celery's closure of this name does.

        Raises:
            kombu.exceptions.OperationalError: the broker did not take it.
            OutboxError: the session of the block that this runs in did not take it.
        """
        self._stamp(message.headers)
        queue = self._short_way(producer, message, options)
        if queue is None and _block_for(message.headers) is not None:
            raise OutboxError(
                f"{name} cannot go into the session's transaction: the outbox takes JSON for a queue on Redis, "
                "without compression, an exchange, or a producer or connection of your own; leave these out, or "
                "send it after the block"
            )
        if queue is None or (_is_watched() and not self._is_kept(message.headers)):
            return self._celery_sender(producer, name, message, **options)
        return self._send(producer, name, message, queue, options)

    def _is_kept(self, headers: Mapping[str, Any]) -> bool:
        """Whether a message goes into a transaction, and not to the broker."""
        collection = collecting.current()
        return (collection is not None and collection.is_following_up) or _block_for(headers) is not None

    def _stamp(self, headers: dict[str, Any]) -> None:
        """Notes when the job was enqueued; one that goes on keeps its time, or has none if a stock producer sent it.

        By this header the balance sheet knows the jobs that were accepted by us.
        """
        if _is_new(headers):
            headers.setdefault(ENQUEUED_AT, datetime.now(UTC).isoformat())
        elif (task := self.app.current_worker_task) and (time := task.request.get(ENQUEUED_AT)):
            headers[ENQUEUED_AT] = time

    def _short_way(self, producer: Any, message: Any, options: Mapping[str, Any]) -> str | None:
        """The list on which a plain send ends, by Celery's rules; None: this is not one."""
        get = options.get
        if not isinstance(producer, _LateProducer) or self._producers is None or not isinstance(message.body, tuple):
            return None
        # Celery hands on what nobody has set as None, if the queue was named: by the caller, or by a retry.
        asks_for_more = any(get(name) is not None for name in PRODUCERS_OWN)
        if get("declare") is not None or (get("exchange") and get("routing_key")) or asks_for_more:
            return None
        defaults = self._defaults
        if (get("serializer") or defaults.serializer) != "json" or get("compression") or defaults.compression:
            return None
        given = get("queue")
        if given is None and get("exchange") == "":
            given = get("routing_key")  # A retry names the list that its message came from.
            if isinstance(given, str) and given not in self.queues:
                return given
        if given is None and get("exchange") is not None:
            return None
        queue = self._queue(given)
        kind = get("exchange_type") or getattr(queue.exchange, "type", "direct")
        if kind != "direct" or isinstance(queue, Broadcast) or _expires(queue):
            return None
        return given if isinstance(given, str) else cast(str, queue.name)

    def _queue(self, given: Any) -> Any:
        if given is None:
            return self.default_queue
        return self.queues[given] if isinstance(given, str) else given

    def _send(self, producer: Any, name: str, message: Any, queue: str, options: dict[str, Any]) -> None:
        headers, properties, body, sent_event = message
        if "headers" in options:
            headers.update(options["headers"] or {})
        for key, value in options.items():
            if key not in CONSUMED:
                properties[key] = value
        defaults = self._defaults
        retry = defaults.retry if options.get("retry") is None else options["retry"]
        policy, patience = defaults.retry_policy, defaults.patience
        if given := options.get("retry_policy"):
            policy = {**policy, **given}
            patience = _patience(policy)
        common = {"sender": name, "body": body, "exchange": "", "routing_key": queue, "headers": headers}
        if signals.before_task_publish.receivers:
            signals.before_task_publish.send(
                declare=[self._queue(options.get("queue"))], properties=properties, retry_policy=dict(policy), **common
            )
        block = _block_for(headers)
        self._publish_or_keep(body, headers, properties, queue, patience if retry else ONCE_MORE, block)
        if signals.after_task_publish.receivers:
            signals.after_task_publish.send(**common)
        if signals.task_sent.receivers:
            _send_task_sent(name, headers, body)
        if sent_event and block is None:  # Nobody may ever send what waits for a commit.
            sent_event.update(queue=queue, exchange="", routing_key=queue)
            dispatcher = options.get("event_dispatcher") or self._event_dispatcher
            speaker = self._speaker or producer
            dispatcher.publish("task-sent", sent_event, speaker, retry=retry, retry_policy=policy)

    def _publish_or_keep(
        self,
        body: Any,
        headers: dict[str, Any],
        properties: dict[str, Any],
        queue: str,
        patience: Patience,
        block: Outbox | None,
    ) -> None:
        """Publishes; a part of a job's outcome is sent when that is written, and a session's when that commits."""
        # A key that came along with copied headers is another message's.
        headers.pop(OUTBOX, None)
        collection = collecting.current()
        if collection is not None and collection.is_following_up:
            headers[OUTBOX] = collection.key_for(headers["id"], headers.get("retries") or 0, is_new=_is_new(headers))
            collection.follow_ups.append(self._kept(body, headers, properties, queue))
        elif block is not None:
            headers[OUTBOX] = headers["id"]
            block.put([self._kept(body, headers, properties, queue)])
        else:
            raw, step = self._message(body, headers, properties, queue)
            self._publish(headers, queue, step, raw, patience)

    def _kept(self, body: Any, headers: dict[str, Any], properties: dict[str, Any], queue: str) -> FollowUp:
        raw, step = self._message(body, headers, properties, queue)
        return FollowUp(
            key=headers[OUTBOX],
            job_id=headers["id"],
            task=headers["task"],
            queue=queue,
            step=step,
            due=as_time(headers.get("eta")),
            payload=raw,
        )

    def _message(self, body: Any, headers: dict[str, Any], properties: dict[str, Any], queue: str) -> tuple[bytes, int]:
        """The message without its end, and the step of its priority."""
        args, kwargs, embedded = body
        # Callbacks, errbacks, chain and chord, of which there are mostly none.
        embedded = {name: value for name, value in embedded.items() if value is not None}
        _, _, text = serialization.dumps((args, kwargs, embedded), "json")
        priority = _priority(properties.pop("priority", None))
        if (expiration := properties.pop("expiration", None)) is not None:
            properties["expiration"] = str(int(expiration * 1000))
        own = {name: value for name, value in properties.items() if value not in (None, "")}
        return unsealed(text, headers, own, queue, priority, to_json), step_of(priority)

    def _publish(self, headers: Mapping[str, Any], queue: str, step: int, raw: bytes, patience: Patience) -> None:
        # What waits without that time is of a job that was never counted, and is not noted as waiting.
        id = headers["id"] if headers.get(ENQUEUED_AT) else ""
        due_ms = self._due_ms(headers.get("eta"))
        try:
            cast(Producers, self._producers).publish(
                queue, step, [(id, raw)], due_ms, patience, is_new=_is_new(headers)
            )
        except BrokerUnavailable as error:
            raise OperationalError(str(error)) from error

    def _due_ms(self, eta: str | None) -> int:
        """Milliseconds since 1970; 0: at once, or for the worker to complain of."""
        if not eta:
            return 0
        try:
            moment = datetime.fromisoformat(eta)
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return max(int(aware.timestamp() * 1000), 0)
        except (TypeError, ValueError, OverflowError):
            return 0


CONSUMED = frozenset(
    {
        "exchange",
        "routing_key",
        "queue",
        "event_dispatcher",
        "retry",
        "retry_policy",
        "serializer",
        "delivery_mode",
        "compression",
        "declare",
        "headers",
        "exchange_type",
    }
)
"""Options of a send that are not properties of its message."""


def _is_watched() -> bool:
    """Whether somebody has put something in front of kombu's publishing, as Sentry does, and wants to see each."""
    return bool(Producer.publish.__code__.co_filename != messaging.__file__)


def _is_eager() -> bool:
    """Whether the task that runs was called in place, so that what it sends is not part of a job's outcome."""
    task = get_current_task()
    return task is not None and bool(task.request.is_eager)


def _block_for(headers: Mapping[str, Any]) -> Outbox | None:
    """The block whose session takes a message.

    What a running job sends in order to go on is none of it: a rollback, as by that very retry, would lose the job.
    """
    collection = collecting.current()
    is_part = collection is not None and collection.is_following_up
    return None if is_part or not _is_new(headers) else current_outbox()


def _is_new(headers: Mapping[str, Any]) -> bool:
    """Whether a message is a job's first: no retry, and not sent in place of a job that has run, here or elsewhere."""
    id, running = headers.get("id"), collecting.current()
    goes_on = id is not None and id in (headers.get(GOES_ON), running.job_id if running else None)
    return not headers.get("retries") and not goes_on


def _names_lists_as_we_do(options: Mapping[str, Any]) -> bool:
    steps = tuple(options.get("priority_steps") or PRIORITY_STEPS)
    return steps == PRIORITY_STEPS and options.get("sep", STEP_SEPARATOR) == STEP_SEPARATOR


def _send_task_sent(name: str, headers: dict[str, Any], body: Any) -> None:
    """The signal that Celery has been about to remove since version 3."""
    signals.task_sent.send(
        sender=name,
        task_id=headers["id"],
        task=name,
        args=body[0],
        kwargs=body[1],
        eta=headers["eta"],
        taskset=headers["group"],
    )


def _is_short(values: Any) -> bool:
    """Whether ``repr`` shows these arguments in few characters, without running code of theirs."""
    return len(values) <= 8 and all(
        type(value) in PLAIN and (type(value) is not str or len(value) <= SHORT) for value in values
    )


def _expires(queue: Any) -> bool:
    """Whether kombu would give the queue's lists a time to live with each message."""
    return bool(queue.expires or "x-expires" in (queue.queue_arguments or {}))


def _priority(given: Any) -> int:
    """kombu's reading: anything that is no number counts as 0."""
    if given is None:
        return 0
    try:
        return max(0, min(9, int(given)))
    except (TypeError, ValueError):
        return 0


def _patience(policy: Mapping[str, Any]) -> Patience:
    """A retry policy of Celery's; one without an end ends with our patience."""
    most = policy.get("max_retries")
    return Patience(
        repeats=Patience.repeats if most is None else most,
        first=policy.get("interval_start") or 0,
        step=policy.get("interval_step") or 0,
        most=policy.get("interval_max") or 1,
    )


class _Speaker:
    """Tells events to those who listen; a dispatcher asks a producer for no more than this."""

    def __init__(self, producers: Producers) -> None:
        self._client = producers.client
        self._prefix = f"{producers.keys.prefix}/{producers.client.connection_pool.connection_kwargs['db']}."

    def publish(self, event: Any, *, routing_key: str, exchange: str, headers: dict[str, Any], **_: Any) -> None:
        """Publishes one event as kombu does: the exchange is a fanout, and its name the channel's."""
        raw = unsealed(to_json(event), headers, {}, routing_key, 0, to_json, exchange=exchange)
        self._client.publish(f"{self._prefix}{exchange}/{routing_key}", sealed(raw, secrets.token_urlsafe(8)))


class _LatePool:
    """Celery's pool of kombu producers; what is acquired takes one of these when it is first used."""

    def __init__(self, amqp: AMQP) -> None:
        self._amqp = amqp

    def acquire(self, block: bool = False, timeout: float | None = None) -> _LateProducer:
        """A producer that opens nothing and takes nothing yet."""
        return _LateProducer(self._amqp, timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._amqp.kombu_producers, name)


class _LateProducer:
    """Stands for a producer of Celery's pool until something asks for more than a plain send."""

    def __init__(self, amqp: AMQP, timeout: float | None) -> None:
        self._amqp = amqp
        self._timeout = timeout
        self._taken: Any = None

    def __enter__(self) -> _LateProducer:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Gives the producer back, if one was taken."""
        if self._taken is not None:
            taken, self._taken = self._taken, None
            taken.release()

    @property
    def connection(self) -> _LateConnection:
        """The producer's connection."""
        return _LateConnection(self)

    @property
    def is_taken(self) -> bool:
        """Whether there is a producer of the pool behind this."""
        return self._taken is not None

    def take(self) -> Any:
        """The producer, from the pool."""
        if self._taken is None:
            try:
                self._taken = self._amqp.kombu_producers.acquire(block=True, timeout=self._timeout)
            except LimitExceeded as error:
                raise OperationalError(
                    f"no broker connection became free in {self._timeout} s; raise broker_pool_limit"
                ) from error
        return self._taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self.take(), name)


class _LateConnection:
    """The connection of a late producer."""

    def __init__(self, producer: _LateProducer) -> None:
        self._producer = producer

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """kombu asks whether it has been given a connection or a channel; Celery's own proxies answer like this too."""
        return Connection

    def _reraise_as_library_errors(self, *_: Any) -> _LateConnection:
        """Celery sends inside of this. Only a producer that was taken has a connection whose errors could come."""
        return self

    def __enter__(self) -> _LateConnection:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None and self._producer.is_taken:
            with self._producer.take().connection._reraise_as_library_errors():
                raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer.take().connection, name)
