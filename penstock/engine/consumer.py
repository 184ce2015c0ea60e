"""Celery's consumer for a worker that claims: connections come and go, what the worker holds stays.

Celery's own forgets its requests when the connection is lost, because its broker has put them back by then. Ours are
the worker's until it settles them, so a reconnection changes nothing, and running jobs are never ended for it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from celery import bootsteps
from celery.worker import state
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.common import ignore_errors

import penstock.engine.health  # noqa: F401  registers what `inspect claims` answers
from penstock.broker import envelope
from penstock.broker.claims import Claims, new_incarnation
from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts, Settlement, Source
from penstock.broker.transport import CLAIMS, UNHEARD, Transport
from penstock.engine import attempts, keeper_config, lifeline, request, revoking
from penstock.engine.comeback import Comebacks
from penstock.engine.gate import Gate
from penstock.engine.handover import Handover
from penstock.engine.keeping import CRASH_LIMIT
from penstock.engine.keeping.identity import last_change
from penstock.engine.link import KeeperLink
from penstock.engine.parent import Parent
from penstock.engine.pool import Pool
from penstock.engine.putting_away import PutsAway
from penstock.engine.reporting import capture
from penstock.engine.reporting.reporter import Reporter, use
from penstock.engine.running.admitting import Admission, Candidate, is_over
from penstock.engine.stopping import Stopping
from penstock.job import Reason
from penstock.ledger.backend import LedgerBackend
from penstock.ledger.outlet import set_outlet
from penstock.ledger.records import Record
from penstock.task import watch_cancellations

logger = logging.getLogger(__name__)
WATCH_SECONDS = 0.1
EVENTS_SECONDS = 0.02
SHOW_SECONDS = 0.5
RUNNING_SECONDS = 1.0
"""From when on a first delivery that runs has a row; one that ends sooner is written once."""
CHILDREN_SECONDS = 0.25
"""How often dead children are looked for. The pool looks when a child's pipe closes; the kernel does that before the
child can be waited for, and a pool that looked in between looks again after five seconds."""
ALONE = ("celery.concurrency.prefork", "celery.concurrency.solo")
"""Modules of Celery's pools whose processes run one job at a time."""
CANCELLED = "penstock_cancelled"
"""Attribute of a request whose body is asked to stop."""
ENDING = {bootsteps.CLOSE, bootsteps.TERMINATE}


class Consumer(PutsAway, CeleryConsumer):
    """Consumes by claims when the broker is Redis, and as Celery does with any other."""

    claims: Claims | None = None
    connection: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.revocations = revoking.Revocations()
        self._stopping = Stopping(self.pool, self.revocations, _mark)
        # Of bodies that run in this process, as with threads and gevent.
        watch_cancellations(lambda id: getattr(state.requests.get(id), CANCELLED, False))
        self._workers: list[str] = []
        self._events_are_due = False
        self._aside: list[Source] = []
        self._gate: Gate | None = None
        if isinstance(self.conninfo.transport, Transport):
            self._link = KeeperLink(keeper_config.of(self), self._on_news)
            self._link.open()
            lifeline.tie_children()
            self.claims = Claims(
                hostname=self.hostname,
                keys=Keys(self._options.get("global_keyprefix", "")),
                settler=self._link,
                crash_limit=int(self._options.get("crash_limit", CRASH_LIMIT)),
                on_revoked=self.revocations.learn,
            )
            self._admission = Admission(self.claims, self._settle_at_once, self._link.tell_attempt)
            attempts.watch(self.app)
            attempts.set_teller(self._link.tell_attempt)
            if isinstance(self.app.backend, LedgerBackend):
                self._gate = Gate(self._link, self.claims, Comebacks())
                set_outlet(self._link)
                use(Reporter(self._link.hand_over))
                is_alone = self.pool.__module__ in ALONE
                capture.install(capture.level_of(self._options), is_alone=is_alone)

    @property
    def keeper_pid(self) -> int | None:
        """The keeper's process id."""
        return self._link.pid if self.claims is not None else None

    @property
    def _options(self) -> dict[str, Any]:
        return dict(self.app.conf.broker_transport_options or {})

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the keeper, then consumes until the worker ends, through as many connections as that takes."""
        if self.claims is not None:
            revoking.persist_commands(self)
            self._link.start()
            self.timer.call_repeatedly(WATCH_SECONDS, self._watch, priority=1)
            if self._gate is not None:
                self.timer.call_repeatedly(SHOW_SECONDS, self._show_running, priority=9)
        super().start()

    def register_with_event_loop(self, hub: Any) -> None:
        """Celery's; what is said to the keeper in one turn of the loop then leaves in one piece."""
        super().register_with_event_loop(hub)
        if self.claims is not None:
            self._link.flushes_itself = False
            hub.on_tick.add(self._link.flush)
            self._link.join(hub)
            if (maintain := getattr(getattr(self.pool, "_pool", None), "maintain_pool", None)) is not None:
                hub.call_repeatedly(CHILDREN_SECONDS, maintain)

    def on_send_event_buffered(self) -> None:
        """Celery's, which would send the events of each turn of the loop, before the jobs go to their processes.

        Somewhat later they go out in larger groups, and no job waits for them.
        """
        if self.claims is None or self.hub is None:
            super().on_send_event_buffered()
        elif not self._events_are_due:
            self._events_are_due = True
            self.hub.call_later(EVENTS_SECONDS, self._send_events)

    def _send_events(self) -> None:
        self._events_are_due = False
        self._flush_events()

    def stop(self) -> None:
        """Ends consuming; what the pool still finishes is settled at once, because no loop turns any more."""
        if self.claims is not None:
            self._link.flushes_itself = True
            self._send_events()
            # From here on the worker waits for its jobs, and answers nobody who asks.
            self._link.tell(draining=True)
        super().stop()

    def shutdown(self) -> None:
        """After the pool has ended: has the keeper give back whatever was claimed and has not ended."""
        super().shutdown()
        if self.claims is not None:
            for left in tuple(state.active_requests):
                if isinstance(left, request.Request):
                    self.claims.interrupt(left.token)
            self.claims.give_back()
            self._admission.tell_ended()
            self._link.stop()

    def connection_for_read(self, heartbeat: Any = None) -> Any:
        """A connection that claims, and a lease to claim under."""
        if self.claims is None:
            return super().connection_for_read(heartbeat)
        connection = self.app.connection_for_read(heartbeat=heartbeat)
        setattr(connection, CLAIMS, self.claims)
        self.ensure_connected(connection)
        if self._gate is not None:
            self._doubt(last_change(connection.default_channel.scripts))
        if not self.claims.worker:
            self._begin(connection.default_channel.scripts)
        return connection

    def connection_for_write(self, *args: Any, **kwargs: Any) -> Any:
        """A connection for events, which nobody has to wait for."""
        connection = super().connection_for_write(*args, **kwargs)
        setattr(connection, UNHEARD, True)
        return connection

    def _begin(self, scripts: Scripts) -> None:
        """Begins a lease under a new name; the keeper renews it from now on, and older ones that still hold claims."""
        assert self.claims is not None
        worker = new_incarnation(self.hostname)
        scripts.join(worker)
        self._workers.append(worker)
        self._link.tell(workers=self._workers, queues=list(self.app.amqp.queues.consume_from))
        self.claims.begin(worker)

    def _retire_older(self) -> None:
        """Lets go of incarnations that hold nothing any more."""
        assert self.claims is not None
        for worker in self._workers[:-1]:
            if not self.claims.held_by(worker):
                self._workers.remove(worker)
                self._link.retire(worker, left=self._workers)

    def _watch(self) -> None:
        self._link.watch()
        self._stopping.perform()
        claims = self.claims
        if claims is None:
            return
        self._admission.tell_ended()
        if self._is_ending:
            return
        self._retire_older()
        # The property of this name would connect anew, and wait for it.
        channel = self.connection and self.connection._default_channel
        if channel:
            channel.drop_if_overdue()
        if claims.worker == "" and channel:
            try:
                self._begin(channel.scripts)
            except self.connection_errors:
                logger.debug("no lease yet", exc_info=True)

    @property
    def _is_ending(self) -> bool:
        return self.blueprint.state in ENDING

    def on_close(self) -> None:
        """Keeps all requests: they belong to this worker, whatever connection they came by."""
        if self.claims is not None:
            self._link.flushes_itself = True  # Until a loop turns again.
        if self.claims is None or self._is_ending:
            super().on_close()

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Closes the connection; running jobs go on, and are settled over the keeper's."""
        if self.claims is None:
            super().on_connection_error_after_connected(exc)
            return
        logger.warning("connection to Redis lost (%s); %d jobs are kept", exc, self.claims.held)
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # It is broken in whichever way; nothing of it is needed.
                connection.collect(socket_timeout=1.0)
            ignore_errors(connection, connection.close)

    def add_task_queue(self, queue: Any, *args: Any, **kwargs: Any) -> None:
        """Celery's; the keeper hears of the queue."""
        super().add_task_queue(queue, *args, **kwargs)
        self._tell_queues()

    def cancel_task_queue(self, queue: Any) -> None:
        """Celery's; the keeper hears of it."""
        super().cancel_task_queue(queue)
        self._tell_queues()

    def _tell_queues(self) -> None:
        if self.claims is not None:
            self._link.tell(queues=list(self.app.amqp.queues.consume_from))

    # -- what the keeper says -----------------------------------------------------------------------------------

    def _on_news(self, news: dict[str, Any]) -> None:
        claims = self.claims
        assert claims is not None
        if "lost" in news:
            self._give_up_claims(news["lost"])
        if "changed" in news and self._gate is not None:
            self._doubt(news["changed"])
        if "started" in news and self._gate is not None:
            self._gate.open(news["started"])
        if "broken" in news:
            self._admission.broken = frozenset(news["broken"])
        if "full" in news:
            claims.is_held_back = news["full"]
        if "revoked" in news:
            stamps = [(header, value) for header, value in news["stamps"]]
            claims.learn(news["revoked"], stamps, news["version"])
            self.revocations.terminate_running(news["signals"], self.pool)
            self._stopping.learn(news["cancelled"])
        if "unknown" in news:
            self._aside = [Source(queue, int(step), task) for task, queue, step in news["unknown"]]
            self._claim_what_is_known()

    def _claim_what_is_known(self) -> None:
        """The keeper may tell what others did not know before this worker has found out what it knows itself."""
        assert self.claims is not None
        self.claims.unknown = tuple(source for source in self._aside if source.task in self.strategies)

    def _doubt(self, changed_ms: int) -> None:
        """Another server, or the same one again, may show as claimed what was settled long ago.

        From now on this worker claims under another name; what remains under the old one when its jobs have ended was
        settled before, and goes back to be looked up.
        """
        assert self.claims is not None
        assert self._gate is not None
        if self._gate.comebacks.notice(changed_ms):
            logger.warning("Redis was restarted or replaced; messages from before are looked up in the ledger")
            self.claims.rename()

    def _give_up_claims(self, workers: list[str]) -> None:
        """The worker was silent for a lease: its jobs are others' now, so its own attempts are ended."""
        assert self.claims is not None
        self._workers = [worker for worker in self._workers if worker not in workers]
        tokens = set(self.claims.abandon(workers))
        logger.error("this worker was silent for too long; its %d claims were taken away", len(tokens))
        for kept in tuple(state.reserved_requests):
            if not (isinstance(kept, request.Request) and kept.token in tokens):
                continue
            if kept in state.active_requests:
                kept.cancel(self.pool, emit_retry=False)
            else:
                kept.abandon()

    def _show_running(self) -> None:
        """Has rows made of first deliveries that have been running for a while; others have theirs already."""
        before = time.time() - RUNNING_SECONDS
        for kept in tuple(state.active_requests):
            if isinstance(kept, request.Request) and kept.time_start <= before:
                kept.show()

    # -- messages -----------------------------------------------------------------------------------------------

    def update_strategies(self) -> None:
        """Celery's, with our kind of request for every task that does not bring its own."""
        if self.claims is not None:
            for task in self.app.tasks.values():
                if task.Request == request.CELERYS:
                    task.Request = request.OURS
        if self._gate is not None and not isinstance(self.pool.apply_async, Handover):
            self.pool.apply_async = Handover(self.pool.apply_async, self._link)
        super().update_strategies()
        if self.claims is not None:
            self._claim_what_is_known()

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """Celery's, which then finds out by itself that a job was revoked."""
        handle = super().create_task_handler(*args, **kwargs)
        if self.claims is None:
            return handle  # type: ignore[no-any-return]

        def on_task_received(message: Any) -> None:
            with self.putting_away_nonsense(message):
                self._receive(message, handle)

        return on_task_received

    def _receive(self, message: Any, handle: Callable[[Any], Any]) -> None:
        id = message.headers.get("id")
        self.revocations.remind(id)
        is_revoked = self.revocations.knows(id)
        if self._admission.broken and self._is_refused(message):
            return
        if self._gate is None or is_revoked or not self._gate.holds_up(message, handle):
            handle(message)

    def _is_refused(self, message: Any) -> bool:
        """Whether the breaker of its task has put a job aside."""
        task = message.headers.get("task")
        if not (isinstance(task, str) and task in self.strategies):
            return False
        id = envelope.job_id({"headers": message.headers})
        # Its times were shifted to this host's clock when it was claimed.
        is_no_start = is_over(message.headers, self.revocations, time.time() * 1000)
        refused = self._admission.refuse([Candidate(message.delivery_tag, task, id, is_no_start)])
        if refused.aside and self._gate is not None:
            self.record_blocked(message, Reason.BREAKER)
        return bool(refused.all)

    def _settle_at_once(self, settlements: Sequence[Settlement]) -> list[int]:
        channel = self.connection and self.connection._default_channel
        try:
            return channel.scripts.settle(settlements) if channel else []
        except self.connection_errors:
            return []

    @property
    def keeps_claims(self) -> bool:
        """Whether messages come as claims, which have to be ended one way or another."""
        return self.claims is not None

    def end_claim(self, message: Any, verb: str, first: str = "", second: str = "") -> bool:
        """Ends the claim of a message; False when it had been ended, or taken away, before."""
        assert self.claims is not None
        return self.claims.settle(message.delivery_tag, verb, first, second)

    def record_aside(self, record: Record) -> None:
        """Has it recorded that a job was put aside."""
        self._link.record(record)


def _mark(request: Any) -> None:
    setattr(request, CANCELLED, True)


def consumer(*args: Any, pool: Any, **kwargs: Any) -> CeleryConsumer:
    """What `worker_consumer` names: the consumer for the worker's pool."""
    kind = Parent if isinstance(pool, Pool) else Consumer
    return kind(*args, pool=pool, **kwargs)
