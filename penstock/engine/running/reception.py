"""Jobs that are not plain, by Celery's own machinery: strategies, requests, and a pool that runs each at once.

So retries and failures, revocations, expiry, rate limits, early acknowledgement, requests and strategies of an
application's own, protocol 1 and all signals are what they are in any worker of Celery's. What Celery then does with a
message ends the claim.
"""

from __future__ import annotations

import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from celery import states
from celery.app import trace
from celery.app.task import Context
from celery.exceptions import Ignore, Reject, TaskRevokedError
from celery.worker import state
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.message import Message

from penstock.broker.claims import Claims
from penstock.broker.scripts import Settlement
from penstock.engine import request
from penstock.engine.handover import RAISED
from penstock.engine.putting_away import PutsAway
from penstock.engine.revoking import Revocations
from penstock.engine.running.announcing import Announcer
from penstock.engine.running.handing import TELL, Handing
from penstock.engine.running.opening import Job
from penstock.engine.running.rates import Rates
from penstock.errors import JobCancelled
from penstock.ledger import collecting
from penstock.ledger.backend import LedgerBackend
from penstock.ledger.records import Record

logger = logging.getLogger(__name__)
RATE_MARGIN_MS = 5
"""A message that a rate limit puts off by less is waited for."""


class Reception(PutsAway, CeleryConsumer):
    """As much of Celery's consumer as strategies and requests ask for; it has no connection and no blueprint."""

    keeps_claims = True
    event_dispatcher: Announcer

    def __init__(
        self,
        app: Any,
        hostname: str,
        *,
        pool: InlinePool,
        claims: Claims,
        handing: Handing,
        announcer: Announcer,
        rates: Rates,
        revocations: Revocations,
        settle_now: Callable[[Settlement], bool],
        disable_rate_limits: bool,
    ) -> None:
        self.app, self.hostname = app, hostname
        self.pool = pool
        self.pid = os.getpid()
        self.claims = claims
        self.hub = None
        # What has a time has waited for it in Redis.
        self.timer = SimpleNamespace(call_at=lambda _at, call, args, **_: call(*args))
        self.connection_errors = ()
        self.event_dispatcher = announcer
        self.disable_rate_limits = disable_rate_limits
        self.task_buckets: defaultdict[str, Any] = defaultdict(lambda: None)
        self.on_task_message: set[Any] = set()
        self.controller = SimpleNamespace(state=state)
        self.qos = SimpleNamespace(increment_eventually=lambda: None, decrement_eventually=lambda: None)
        self.strategies = self.Strategies()
        self.restart_count = 0
        self._maximum_prefetch_restored = True
        self._handing = handing
        self._rates = rates
        self._settle_now = settle_now
        self._revocations = revocations
        self._accept = trace.prepare_accept_content(app.conf.accept_content)
        self._channel = Channel(self)
        self.rebuild()

    def rebuild(self) -> None:
        """Asks the tasks for their strategies anew: they note whether there are events, and rate limits."""
        for task in self.app.tasks.values():
            if task.Request == request.CELERYS:
                task.Request = request.OURS
            self.strategies[task.name] = task.start_strategy(self.app, self)
        self.reset_rate_limits()
        self._handle = self.create_task_handler()

    # -- a message ----------------------------------------------------------------------------------------------

    def message(self, job: Job) -> Message:
        """The message as Celery knows it."""
        payload = job.payload
        properties = payload["properties"]
        return Message(
            body=self._channel.decode_body(payload["body"], properties.get("body_encoding")),
            delivery_tag=job.token,
            content_type=payload.get("content-type"),
            content_encoding=payload.get("content-encoding"),
            headers=job.headers,
            properties=properties,
            delivery_info=properties["delivery_info"],
            accept=self._accept,
            channel=self._channel,
        )

    def receive(self, message: Message) -> None:
        """Does with a message what a worker does, up to the end of its job."""
        with self.putting_away_nonsense(message):
            self._revocations.remind(message.headers.get("id"))
            self._handle(message)
        self.event_dispatcher.flush()

    def on_task_request(self, req: Any) -> None:
        """Runs a request; Celery's strategies call this."""
        state.task_reserved(req)
        try:
            req.execute_using_pool(self.pool)
        except TaskRevokedError:
            state.task_ready(req)
        except JobCancelled:
            stopped(req)

    def apply_eta_task(self, req: Any) -> None:
        """Runs a request whose time has come."""
        self.on_task_request(req)

    def _limit_task(self, req: Any, bucket: Any, tokens: int) -> None:
        """A rate limit holds for all children of the worker. Who has to wait for it waits in Redis, like any job for
        later, and comes again.
        """
        pause = self._rates.take(req.task.name, bucket.fill_rate)
        if pause <= RATE_MARGIN_MS / 1000:
            time.sleep(max(pause, 0))
            self.on_task_request(req)
        else:
            due = self.claims.server_ms() + int(pause * 1000)
            self.claims.settle(req.message.delivery_tag, "park", str(due), req.id)

    _limit_post_eta = _limit_task

    # -- what is done with it -----------------------------------------------------------------------------------

    def end_claim(self, message: Any, verb: str, first: str = "", second: str = "") -> bool:
        """Ends the claim of a message; False when it had been ended, or taken away, before."""
        return self.claims.settle(message.delivery_tag, verb, first, second)

    def record_aside(self, record: Record) -> None:
        """Has it recorded that a job was put aside."""
        self._handing.record(record)

    def acknowledge(self, token: str) -> None:
        """Celery is done with a message."""
        if not self.event_dispatcher.desk.is_early:
            self.claims.acknowledge(token)
        elif (settlement := self.claims.take(token, "ack")) is not None:
            self._settle_now(settlement)

    def reject(self, token: str, requeue: bool) -> None:
        """Celery gives a message back, last in line, or drops it."""
        if requeue:
            self.claims.settle(token, "requeue")
        else:
            self.acknowledge(token)


class Channel:
    """What messages and custom requests ask of the channel they came by."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self.claims = reception.claims

    no_ack_consumers = None

    @staticmethod
    def decode_body(body: Any, encoding: Any) -> Any:
        """kombu's."""
        from kombu.transport.virtual.base import Base64

        return Base64().decode(body) if encoding == "base64" else body

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Ends the claim."""
        self._reception.acknowledge(delivery_tag)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Ends the claim, or puts the message last in line."""
        self._reception.reject(delivery_tag, requeue)


class InlinePool:
    """A pool for requests that runs what it is given at once, in this process.

    What a job tells of itself is handed over before Celery answers its message, because a claim ends after what was
    recorded of it before.
    """

    is_green = False

    def __init__(
        self,
        handing: Handing,
        announcer: Announcer,
        *,
        collects: bool,
        limits: tuple[float | None, float | None],
        on_done: Callable[[str, float], None],
    ) -> None:
        """Args:
        collects: whether outcomes go to the ledger.
        limits: the pool's (soft, hard), in seconds, for tasks that have none.
        on_done: told of each job's task and how long it took.
        """
        self._handing = handing
        self._announcer = announcer
        self._collects = collects
        self._limits = limits
        self._on_done = on_done
        self.reception: Reception | None = None
        self.done = 0

    def apply_async(
        self,
        target: Callable[..., Any],
        args: Any = (),
        kwargs: Any = None,
        *,
        callback: Callable[..., Any],
        error_callback: Callable[..., Any],
        accept_callback: Callable[[int, float], Any],
        soft_timeout: float | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> None:
        """Runs one of Celery's tracers for the job at hand, and does what follows from it."""
        desk = self._announcer.desk
        job, place = desk.job, desk.place
        assert job is not None
        now = time.monotonic()
        desk.is_early = True
        try:
            accept_callback(os.getpid(), now)
        finally:
            desk.is_early = False
        self._announcer.started(job.headers.get("shadow") or job.headers.get("task"))
        self._announcer.flush()
        soft, hard = soft_timeout or self._limits[0] or 0.0, timeout or self._limits[1] or 0.0
        now = time.monotonic()
        place.begin(job, now, time.time(), soft, hard)
        if soft or hard:
            self._handing.watch_limits()
        try:
            told, error = self._run(target, args, kwargs or {})
        finally:
            self.done += 1
            place.ending()
        self._on_done(job.headers.get("task", ""), time.monotonic() - now)
        if error is not None:
            error_callback(error)
        else:
            callback(told)

    def _run(self, target: Any, args: Any, kwargs: Any) -> tuple[Any, ExceptionInfo | None]:
        words: list[str] = []
        try:
            if self._collects:
                failed, result, runtime, words = self._collected(target, args)
            else:
                failed, result, runtime = target(*args, **kwargs)
        except Exception:
            return None, ExceptionInfo()
        if words:
            self._handing.put((TELL, tuple(words), (), (), ()))
        if failed == RAISED:
            return None, result
        if not failed:
            self._announcer.log_success(args, result, runtime)
        return (failed, result, runtime), None

    def _collected(self, target: Any, args: Any) -> tuple[int, Any, Any, list[str]]:
        """One of Celery's tracers, whose first arguments are the task's name, the job's id and its request."""
        name, id, request, *_ = args
        assert self.reception is not None
        backend = self.reception.app.tasks[name].backend
        with collecting.collecting(id, request) as collection:
            collection.is_on_the_books = isinstance(backend, LedgerBackend)
            collection.started = time.time()
            try:
                failed, result, runtime = target(*args)
                if failed and collection.is_on_the_books and (silent := _silent_end(result)):
                    backend.record_silent_end(Context(request), *silent)
            except Exception:
                if not collection.records:
                    raise
                failed, result, runtime = RAISED, ExceptionInfo(), None
        return failed, result, runtime, collection.words()


def stopped(request: Any) -> None:
    """Has it recorded that a body has stopped because its job was cancelled; what Celery does for a revoked one."""
    logger.info("%s[%s] was cancelled, and has stopped", request.name, request.id)
    request._announce_revoked("cancelled", False, None, False)


def _silent_end(result: ExceptionInfo) -> tuple[str, BaseException] | None:
    """State and exception of an end that Celery tells a backend of by a signal only."""
    error = result.exception
    if isinstance(error, ExceptionWithTraceback):
        error = error.exc
    if isinstance(error, Reject):
        return states.REJECTED, error
    return (states.IGNORED, error) if isinstance(error, Ignore) else None
