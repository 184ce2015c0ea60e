"""The pool that children of ours make: what Celery's worker asks of a pool, and nothing of its jobs.

Celery makes it, starts it before anything else of the worker runs, and asks it to grow, shrink, restart and end. It
never gives it a job: children claim for themselves.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celery.concurrency.base import BasePool
from kombu.asynchronous import get_event_loop

from penstock.engine import kinds, logs
from penstock.engine.child import Plan
from penstock.engine.place import Place
from penstock.engine.pool_keeper import keep_children
from penstock.engine.processes import tie_to_parent
from penstock.engine.running import limits
from penstock.engine.running.rates import Rates
from penstock.engine.slots import ASK, Orders, Reason, Slots
from penstock.engine.wire import Address
from penstock.engine.zygote import Zygote

logger = logging.getLogger(__name__)
JOIN_SECONDS, TIMERS_SECONDS = 0.02, 0.5
KILL_SECONDS = 5.0
READ_BYTES = 1 << 16
START_SECONDS, FORK_SECONDS = 10.0, 0.002


class Pool(BasePool):
    """`worker_pool = "penstock.engine.pool:Pool"`. Constructing starts nothing."""

    uses_semaphore = False
    signal_safe = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.disable_rate_limits = False
        """Set by the consumer, before the start."""
        self.most = 0
        """Most children that an autoscaler may ask for. Set by the consumer."""
        self.drain_seconds: float | None = None
        """How long jobs may go on once the worker ends; None: as long as they take. Set by the consumer."""
        self.zygote = 0
        self._has_ended = False
        self._unread = bytearray()
        self._slots: Slots | None = None
        self._modules: set[str] = set()

    # -- starting -----------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Forks the zygote. Nothing of the worker has a thread or a connection yet."""
        self._slots = Slots(max(self.limit, self.most), kinds.places_of(self.app.conf))
        self._address = Address()
        self._folder = Path(tempfile.mkdtemp(prefix="penstock-"))
        plan = self._plan()
        self._modules = set(sys.modules)
        self._slots.target = self.limit
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        # What is here by now is never collected, by any of us: whoever looks whether it may be writes into each object,
        # and so would have a copy of all of them.
        gc.collect()
        gc.freeze()
        self.zygote = os.fork()
        if not self.zygote:
            _live_as_zygote(plan, ours, theirs)
        theirs.close()
        # The listener stays with those who were forked: a worker that was killed must not keep callers waiting.
        self._address.listener.close()
        self._commands = ours
        self._commands.setblocking(False)
        self._await_children()

    def _plan(self) -> Plan:
        assert self._slots is not None
        conf = self.app.conf
        tasks = self.app.tasks
        is_batched = logs.is_celerys_logging()
        return Plan(
            app=self.app,
            hostname=self.options["initargs"][1],
            broker_url=conf.broker_read_url or conf.broker_url,
            transport_options=dict(conf.broker_transport_options or {}),
            slots=self._slots,
            address=self._address,
            rates=Rates(tasks),
            folder=self._folder,
            soft_limit=self.options.get("soft_timeout"),
            hard_limit=self.options.get("timeout"),
            max_tasks=self.options.get("maxtasksperchild"),
            max_memory_kib=self.options.get("max_memory_per_child"),
            disable_rate_limits=self.disable_rate_limits,
            kind=kinds.kind_of(conf),
            logs=logs.reads_info(),
            logs_in_batches=is_batched,
        )

    def _await_children(self) -> None:
        """Whoever looks at a worker that is ready finds its processes."""
        deadline = time.monotonic() + START_SECONDS
        while len(self.slots.live()) < self.slots.target and time.monotonic() < deadline:
            if self._zygote_ended():
                return
            time.sleep(FORK_SECONDS)

    def did_start_ok(self) -> bool:
        """Whether the zygote lives."""
        return not self._zygote_ended()

    # -- while it runs ------------------------------------------------------------------------------------------

    @property
    def slots(self) -> Slots:
        """What the children do."""
        assert self._slots is not None, "the pool has not started"
        return self._slots

    @property
    def address(self) -> Address:
        """Where the keeper is called."""
        return self._address

    @property
    def children(self) -> list[int]:
        """Process ids."""
        return [slot.get("pid") for slot in self.slots.live()]

    @property
    def num_processes(self) -> int:
        """How many children there are to be."""
        return self._slots.target if self._slots is not None else self.limit

    def grow(self, n: int = 1) -> None:
        """More children.

        Raises:
            ValueError: more than the worker has room for.
        """
        wanted = self.slots.target + n
        if wanted > self.slots.most:
            raise ValueError(
                f"this worker has room for {self.slots.most} children; start it with a larger -c to have {wanted}"
            )
        self.slots.target = wanted
        self._wake_zygote()

    def shrink(self, n: int = 1) -> None:
        """Fewer children; those that run a job end after it.

        Raises:
            ValueError: there are not so many.
        """
        if n > self.slots.target:
            raise ValueError(f"there are {self.slots.target} children, and {n} cannot be taken away")
        self.slots.target -= n
        self._wake_zygote()

    def restart(self) -> None:
        """New children in place of all, each after its job. They know what the worker has imported by now."""
        new = sorted(name for name in set(sys.modules) - self._modules if not name.startswith("_"))
        self._command(restart=new)

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Ends the child of this process id, whose job somebody has revoked."""
        self.end(pid, Reason.TERMINATED, signal)

    def end(self, pid: int, reason: Reason, number: int | None = None) -> None:
        """Ends the child of this process id by a signal, SIGTERM unless it is named, and says why."""
        slot = self.slots.find(pid)
        if slot is None or not (shown := slot.shown):
            return  # It has ended by itself meanwhile, and whoever runs now is not meant.
        for place in shown:
            place.give_reason(reason)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number or signal.SIGTERM)

    def cancel(self, pid: int, number: int) -> bool:
        """Has a child that runs many jobs cancel the one of this number; False: it runs one, and has to end."""
        slot = self.slots.find(pid)
        if slot is None or slot.is_single:
            return False
        for place in slot.shown:
            if place.get("number") == number:
                place.give_reason(Reason.TERMINATED)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, ASK)
        return True

    def ask(self, pid: int, number: int) -> None:
        """Has the job of this number hear that it is cancelled; to be repeated, for it may be where it cannot."""
        slot = self.slots.find(pid)
        for place in slot.shown if slot is not None else ():
            if place.get("number") == number:
                place.cancel(number)
                if place.get("cancel_target") == number:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, limits.SIGNAL if slot is not None and slot.is_single else ASK)

    def hear(self) -> Iterator[dict[str, Any]]:
        """What the zygote has told since the last time."""
        with contextlib.suppress(OSError):
            while chunk := self._commands.recv(READ_BYTES):
                self._unread += chunk
        *lines, rest = bytes(self._unread).split(b"\n")
        self._unread[:] = rest
        yield from map(json.loads, lines)

    def _command(self, **command: Any) -> None:
        with contextlib.suppress(OSError):
            self._commands.send(json.dumps(command).encode() + b"\n")

    def _wake_zygote(self) -> None:
        self._command(look=True)

    def _zygote_ended(self) -> bool:
        """Whether it has; it is seen off then."""
        if not self._has_ended and self.zygote:
            with contextlib.suppress(ChildProcessError):
                pid, _ = os.waitpid(self.zygote, os.WNOHANG)
                self._has_ended = bool(pid)
        return self._has_ended

    def zygote_is_lost(self) -> bool:
        """Whether it ended though nobody has asked it to: nothing can be forked any more."""
        return self._zygote_ended() and not self.slots.is_closing

    def _get_info(self) -> dict[str, Any]:
        info: dict[str, Any] = super()._get_info()
        info.update(
            {
                "max-concurrency": self.num_processes,
                "processes": self.children,
                "max-tasks-per-child": self.options.get("maxtasksperchild") or "N/A",
                "put-guarded-by-semaphore": False,
                "timeouts": (self.options.get("soft_timeout") or 0, self.options.get("timeout") or 0),
                "writes": "N/A",
                "zygote": self.zygote,
            }
        )
        return info

    # -- ending -------------------------------------------------------------------------------------------------

    def on_close(self) -> None:
        """Has the children claim no more, give back what has not started, and end after the job that they run."""
        if self._slots is not None and not self._slots.is_closing:
            self._slots.is_closing = True
            for slot in self._slots.live():
                slot.put("orders", Orders.DRAIN)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(slot.get("pid"), ASK)
            self._wake_zygote()

    def on_stop(self) -> None:
        """Waits for the children, within the bound; what still runs then goes back."""
        self.on_close()
        deadline = None if self.drain_seconds is None else time.monotonic() + self.drain_seconds
        if not self._join(deadline):
            logger.warning("%d jobs are cut off and go back, after %s s", len(self._running()), self.drain_seconds)
            self._kill(Reason.SHUTDOWN)
        self._wake_zygote()

    def on_terminate(self) -> None:
        """Ends the children at once; what they run goes back."""
        self.on_close()
        self._kill(Reason.SHUTDOWN)
        self._wake_zygote()

    def _running(self) -> list[Place]:
        return [place for slot in self.slots.live() for place in slot.shown]

    def _kill(self, reason: Reason) -> None:
        for slot in self.slots.live():
            for place in slot.places if slot.is_single else slot.shown:
                place.give_reason(reason)
            with contextlib.suppress(ProcessLookupError):
                os.kill(slot.get("pid"), signal.SIGKILL)
        self._join(time.monotonic() + KILL_SECONDS)

    def join(self, seconds: float) -> None:
        """Waits so long for the children to end."""
        self._join(time.monotonic() + seconds)

    def _join(self, deadline: float | None) -> bool:
        """Waits until no child lives; False when the time was over before. The worker's heart goes on beating."""
        timers = time.monotonic()
        while self.slots.live():
            now = time.monotonic()
            if self._zygote_ended():
                return True
            if deadline is not None and now >= deadline:
                return False
            if now - timers >= TIMERS_SECONDS:
                timers = now
                _fire_timers()
            time.sleep(JOIN_SECONDS)
        return True

    def see_off(self) -> None:
        """After the keeper has ended: ends what is left."""
        deadline = time.monotonic() + KILL_SECONDS
        while not self._zygote_ended() and time.monotonic() < deadline:
            time.sleep(JOIN_SECONDS)
        self._address.remove()
        shutil.rmtree(self._folder, ignore_errors=True)


def _live_as_zygote(plan: Plan, ours: socket.socket, theirs: socket.socket) -> None:
    """The zygote's process, which never comes back from here."""
    code = 1
    try:
        tie_to_parent()
        ours.close()
        Zygote(plan, theirs, lambda: keep_children(plan)).run()
        code = 0
    except BaseException:
        logger.exception("the zygote ends; its worker starts anew")
    finally:
        os._exit(code)


def _fire_timers() -> None:
    """Heartbeats, mostly. A broken connection must not keep the children from being waited for."""
    hub = get_event_loop()
    if hub is not None:
        with contextlib.suppress(Exception):
            hub.fire_timers()
