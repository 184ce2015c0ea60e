"""The worker's own process when children claim for themselves: Celery's consumer, without anything to consume.

Remote control, events, gossip, heartbeats and signals are Celery's. What they say of jobs is read from the children's
slots; what they want of jobs is passed on to the keeper.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Any

from celery import bootsteps, signals
from celery.exceptions import WorkerTerminate
from celery.platforms import EX_FAILURE, close_open_fds
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.common import ignore_errors

import penstock.engine.remote  # noqa: F401  registers what remote control answers, `inspect claims` as well
from penstock.broker.transport import UNHEARD
from penstock.engine import commands, keeper_config, revoking
from penstock.engine.pool import Pool
from penstock.engine.pool_link import PoolLink
from penstock.engine.queues import SERVE
from penstock.engine.showing import Showing
from penstock.engine.slots import Reason
from penstock.engine.stopping import Stopping
from penstock.ledger.backend import LedgerBackend
from penstock.ledger.outlet import set_outlet

logger = logging.getLogger(__name__)
WATCH_SECONDS, SHOW_SECONDS = 0.1, 0.25
ENDING = {bootsteps.CLOSE, bootsteps.TERMINATE}
YOUNG_SECONDS = 5.0


class Parent(CeleryConsumer):
    """See the module."""

    pool: Pool
    connection: Any
    claims = None

    def __init__(self, *args: Any, worker_options: dict[str, Any] | None = None, **kwargs: Any) -> None:
        # A second at each start, to learn what the neighbours know to be revoked: children read that from Redis.
        super().__init__(*args, worker_options={**(worker_options or {}), "without_mingle": True}, **kwargs)
        self.pool.disable_rate_limits = bool(self.disable_rate_limits)
        self.pool.most = int(getattr(self.controller, "max_concurrency", 0) or 0)
        timeout = float(self.app.conf.worker_soft_shutdown_timeout or 0)
        self.pool.drain_seconds = timeout or None
        self.revocations = revoking.Revocations()
        self._stopping = Stopping(self.pool, self.revocations, lambda request: request.ask(self.pool))
        self._link = PoolLink(keeper_config.of(self), self._on_news, lambda: self.pool.address)
        self._showing = Showing(self)
        self._is_told_of_events = False
        # Celery's waits its whole time even when the last job has ended, and goes on to start new ones meanwhile.
        self.controller.wait_for_soft_shutdown = self._drain_softly
        if isinstance(self.app.backend, LedgerBackend):
            set_outlet(self._link)
        # When the worker is told to end, and not only when its loop has turned.
        signals.worker_shutting_down.connect(self._on_shutting_down, weak=False, dispatch_uid="penstock-drain")

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Calls the keeper, then consumes nothing until the worker ends, through as many connections as that takes."""
        revoking.persist_commands(self)
        commands.install(self)
        self._link.start()
        self.timer.call_repeatedly(WATCH_SECONDS, self._watch, priority=1)
        super().start()

    def register_with_event_loop(self, hub: Any) -> None:
        """Celery's; the keeper is heard at once."""
        super().register_with_event_loop(hub)
        self._link.join(hub)
        self.tell_events()

    def serve(self, queues: list[str]) -> None:
        """Has the children claim from these queues."""
        self._link.tell(queues=queues)

    def stop(self) -> None:
        """Ends consuming: the children claim no more from now on."""
        self.pool.on_close()
        # From here on the worker waits for its jobs, and answers nobody who asks.
        self._link.tell(draining=True)
        super().stop()

    def shutdown(self) -> None:
        """After the pool has ended: has the keeper put in order what there is."""
        super().shutdown()
        self._link.stop()
        self.pool.see_off()

    def connection_for_read(self, heartbeat: Any = None) -> Any:
        """A connection over which no task is consumed."""
        connection = super().connection_for_read(heartbeat)
        setattr(connection, SERVE, self.serve)
        return connection

    def connection_for_write(self, *args: Any, **kwargs: Any) -> Any:
        """A connection for events, which nobody has to wait for."""
        connection = super().connection_for_write(*args, **kwargs)
        setattr(connection, UNHEARD, True)
        return connection

    def on_close(self) -> None:
        """Keeps what is known of jobs: they belong to the children, whatever connections come and go here."""
        if self.blueprint.state in ENDING:
            super().on_close()

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Closes the connection of remote control and events; jobs do not notice."""
        logger.warning("connection to Redis lost (%s); jobs go on", exc)
        connection, self.connection = self.connection, None
        if connection is not None:
            ignore_errors(connection, connection.collect)
            ignore_errors(connection, connection.close)

    def _watch(self) -> None:
        self._link.watch()
        self.tell_events()
        self._showing.refresh(age=SHOW_SECONDS)
        self._stopping.perform()
        for news in self.pool.hear():
            self._showing.warn(news["warned"])
        if self.pool.zygote_is_lost():
            self._begin_anew()

    def _begin_anew(self) -> None:
        """Without a zygote nothing can be forked: the worker replaces itself, as on SIGHUP. The jobs have gone back."""
        if self._showing.age < YOUNG_SECONDS:
            logger.critical("the zygote ended right after its start; look at the lines above")
            self.controller.exitcode = EX_FAILURE  # Celery would end as if all were well.
            raise WorkerTerminate(EX_FAILURE)
        logger.critical("the zygote is lost; the worker starts anew")
        close_open_fds([sys.__stdin__, sys.__stdout__, sys.__stderr__])
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606

    # -- what the keeper is told --------------------------------------------------------------------------------

    def tell_events(self) -> None:
        """Tells the keeper and the children whether anybody has asked for events of jobs."""
        dispatcher = self.event_dispatcher
        enabled = bool(dispatcher and dispatcher.enabled and (not dispatcher.groups or "task" in dispatcher.groups))
        if enabled != self._is_told_of_events:
            self._is_told_of_events = enabled
            self._link.tell(events=enabled)

    def reset_rate_limits(self) -> None:
        """Celery's, which it calls when somebody has changed a limit; the children hear of it."""
        super().reset_rate_limits()
        self.tell_limits()

    def tell_limits(self) -> None:
        """Tells the children what tasks may do now."""
        if (link := getattr(self, "_link", None)) is not None and link.is_open:
            changed = self._showing.changed_limits()
            if changed:
                link.say(limits=changed, clock=self.app.clock.value)

    # -- what the keeper says -----------------------------------------------------------------------------------

    def _on_news(self, news: dict[str, Any]) -> None:
        if "revoked" in news:
            stamps = [(header, value) for header, value in news["stamps"]]
            self.revocations.learn(news["revoked"], stamps)
            self._showing.refresh()
            self.revocations.terminate_running(news.get("signals", {}), self.pool)
            self._stopping.learn(news.get("cancelled", {}))
        if "died" in news:
            self._showing.bury(news["died"])
            self._link.say(seen=news["died"]["fork"])
        if "ran" in news:
            self._showing.count(news["ran"])
            self.app.clock.adjust(news["clock"])

    @property
    def keeper(self) -> PoolLink:
        """The way to the keeper."""
        return self._link

    @property
    def showing(self) -> Showing:
        """What Celery's remote control sees of jobs."""
        return self._showing

    def claims_of_children(self) -> dict[str, Any]:
        """What `inspect claims` answers: what the children hold, and when one of them last claimed."""
        slots = self.pool.slots
        living = slots.live()
        claimed = max((slot.time("claimed_at") for slot in living), default=0.0)
        return {
            "worker": next(reversed([name for _, name in slots.incarnations]), ""),
            "held": sum(slot.get("held") for slot in living),
            "has_room": any(slot.room for slot in living),
            "claimed_seconds_ago": round(time.monotonic() - claimed, 3) if claimed else None,
            "queues": list(self.app.amqp.queues.consume_from),
            "keeper": self.keeper_pid,
        }

    @property
    def keeper_pid(self) -> int | None:
        """The keeper's process id."""
        return self.pool.slots.keeper or None

    # -- ending -------------------------------------------------------------------------------------------------

    def cancel_active_requests(self) -> None:
        """On a cold shutdown: ends what runs; it goes back."""
        self.pool.on_close()
        for slot in self.pool.slots.live():
            if slot.is_busy:
                self.pool.end(slot.get("pid"), Reason.SHUTDOWN)

    def _on_shutting_down(self, **_: Any) -> None:
        self.pool.on_close()

    def _drain_softly(self) -> None:
        """Celery's soft shutdown, which ends as soon as the last job has."""
        seconds = float(self.app.conf.worker_soft_shutdown_timeout or 0)
        on_idle = self.app.conf.worker_enable_soft_shutdown_on_idle
        running = any(slot.is_busy for slot in self.pool.slots.live())
        if seconds > 0 and (running or on_idle):
            logger.warning("Initiating Soft Shutdown, terminating in %s seconds", seconds)
            self.pool.on_close()
            self.pool.join(seconds)
