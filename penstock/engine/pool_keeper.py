"""The keeper of a worker whose children claim for themselves: a fork of the zygote, whom all others of the worker call.

It begins the worker's lease, tells the children under which name and from which queues to claim, and does everything
for them that :mod:`penstock.engine.keeper` does for a worker that claims.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import shutil
import signal
import socket
import time
from collections.abc import Iterable
from multiprocessing import process as processes
from typing import Any

from penstock.broker.claims import new_incarnation
from penstock.engine.child import Plan
from penstock.engine.keeper import READ_BYTES, Keeper, ignore_signals
from penstock.engine.keeping.children import Children
from penstock.engine.keeping.tidings import Tidings
from penstock.engine.logs import Lines
from penstock.engine.processes import lives
from penstock.engine.slots import Standing
from penstock.engine.wire import Frames, frame

logger = logging.getLogger("penstock.keeper")
TO_CHILDREN = frozenset({"full", "changed", "started", "revoked", "stamps", "version", "unknown", "broken"})
TO_WORKER = frozenset(
    {
        "settled",
        "confirmed",
        "changed",
        "lost",
        "revoked",
        "stamps",
        "version",
        "signals",
        "cancelled",
        "died",
        "ran",
        "clock",
    }
)
REMIND_SECONDS = 0.5
CALL_SECONDS = 30.0
"""How long the worker may take to call a new keeper."""
DEATH_SECONDS = 1.0
"""After a line was lost, how long the slots are looked at often: the zygote sees the end of a child a moment later."""


def keep_children(plan: Plan) -> None:
    """The keeper's process, after the fork."""
    ignore_signals()
    processes.current_process().name = "keeper"
    PoolKeeper(plan).keep()


class PoolKeeper(Keeper):
    """See the module."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._slots = plan.slots
        self._lines: dict[int, socket.socket] = {}
        """Of children, by their forks."""
        self._known: dict[str, Any] = {}
        """What a child has to be told that calls now."""
        self._changed_ms = 0
        self._is_called = False
        self._death_until = self._reminded = 0.0
        unused, reports = socket.socketpair()
        unused.close()
        super().__init__(reports, reports, parent=os.getppid())

    def keep(self) -> None:
        """Waits for the worker to call, then keeps it until everything of it is in order."""
        self._selector.register(self._plan.address.listener, selectors.EVENT_READ, self._answer)
        if not self._await_worker():
            logger.error("the worker did not call within %.0f s; this keeper ends", CALL_SECONDS)
            return
        while not self._ended:
            self._turn()
        self._finish()
        self._outcomes.close()
        shutil.rmtree(self._plan.folder, ignore_errors=True)

    def _await_worker(self) -> bool:
        deadline = time.monotonic() + CALL_SECONDS
        while not self._is_called:
            if time.monotonic() > deadline:
                return False
            for key, _ in self._selector.select(1.0):
                key.data()
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        config = {**config, "workers": [name for _, name in self._slots.incarnations]}
        super()._begin(config)
        plan = self._plan
        lines = Lines() if plan.logs and plan.logs_in_batches else None
        database = int(self._ward.scripts.client.connection_pool.connection_kwargs.get("db") or 0)
        self._tidings = Tidings(self._ward, plan.hostname, config["pid"], database, lines)
        self._children = Children(self._ward, self._slots, plan.hostname, self._outcomes, self._tidings, self._breakers)
        # The rings first: what is in them may be done with in the same turn.
        self._duties.insert(1, self._children)
        self._duties.append(self._tidings)

    # -- who calls ----------------------------------------------------------------------------------------------

    def _answer(self) -> None:
        while (line := self._plan.address.accept()) is not None:
            line.setblocking(False)
            caller = _Caller(self, line)
            self._selector.register(line, selectors.EVENT_READ, caller.read)

    def take_worker(self, line: socket.socket, config: dict[str, Any], rest: bytes) -> None:
        """The worker has called: what it says from now on is lines of JSON."""
        if self._is_called:  # It lost the line; what it has not heard comes again by the new one.
            with contextlib.suppress(KeyError, ValueError, OSError):
                self._selector.unregister(self._link)
            self._link.close()
        self._link = line
        self._unread.clear()
        self._unsaid.clear()
        self._selector.modify(line, selectors.EVENT_READ, self._read)
        self._ended = False
        if not self._is_called:
            self._begin(config)
            self._is_called = True
        self._unread += rest
        self._take_unread()

    def take_child(self, line: socket.socket, fork: int) -> None:
        """A child has called."""
        self._lines[fork] = line
        self._say(fork, {**self._known, "called": True})

    def lose_child(self, line: socket.socket, fork: int) -> None:
        """A child has ended, or calls again."""
        self._selector.unregister(line)
        line.close()
        if self._lines.get(fork) is line:
            del self._lines[fork]
        self._death_until = time.monotonic() + DEATH_SECONDS
        self._look()

    def nudged(self) -> None:
        """Somebody has handed something over."""
        self._look()

    def _look(self) -> None:
        if self._is_called:
            self._children.look_now()

    def _turn(self) -> None:
        if time.monotonic() < self._death_until:
            self._children.due = min(self._children.due, time.monotonic() + 0.005)
        super()._turn()
        self._retire_older()
        self._remind()

    # -- lease --------------------------------------------------------------------------------------------------

    def _take(self, words: dict[str, Any]) -> None:
        super()._take(words)
        if "queues" in words:
            self._known["queues"] = words["queues"]
            if not self._slots.incarnations:
                self._incarnate(after=())
            else:
                number, name = self._slots.incarnations[-1]
                self._tell_children(worker=name, incarnation=number)
            self._tell_children(queues=words["queues"])
        if "events" in words:
            self._tidings.enabled = words["events"]
            self._known["events"] = words["events"]
            self._tell_children(events=words["events"])
        if "clock" in words:
            self._tidings.clock = max(self._tidings.clock, words["clock"])
        if "limits" in words:
            self._known["limits"] = {**self._known.get("limits", {}), **words["limits"]}
            self._tell_children(limits=words["limits"])
        if "seen" in words:
            self._children.seen(words["seen"])

    def _incarnate(self, after: Iterable[int]) -> None:
        """Begins a lease under a new name. It is written down before it begins, for the keeper after this one.

        Args:
            after: numbers of incarnations that are no more.
        """
        number = max((*after, *(number for number, _ in self._slots.incarnations)), default=0) + 1
        name = new_incarnation(self._plan.hostname)
        self._slots.incarnations = [*self._slots.incarnations, (number, name)]
        self._ward.workers = [name for _, name in self._slots.incarnations]
        self._ward.scripts.join(name)
        self._tell_children(worker=name, incarnation=number)
        self._renew.look()
        if self._is_draining:
            self._note_draining()

    def _remind(self) -> None:
        """Tells children again what they do not seem to know: a claim of theirs may have found no lease."""
        now = time.monotonic()
        if now < self._reminded + REMIND_SECONDS or not self._slots.incarnations:
            return
        self._reminded = now
        number, name = self._slots.incarnations[-1]
        for slot in self._slots.live():
            if slot.get("incarnation") < number and slot.get("fork") in self._lines:
                self._say(slot.get("fork"), {"worker": name, "incarnation": number})

    def _retire_older(self) -> None:
        """Lets go of incarnations under which no child holds anything, once their last outcomes are settled."""
        known = self._slots.incarnations
        if len(known) < 2 or not self._children.is_idle:
            return
        oldest = min((slot.get("incarnation") for slot in self._slots.live()), default=known[-1][0])
        for number, name in known[:-1]:
            if number < oldest:
                self._slots.incarnations = [each for each in self._slots.incarnations if each[0] != number]
                self._settle.retire(name)

    def _lose(self, lost: list[str]) -> None:
        """The lease was taken away: jobs that were claimed under it are somebody else's, so they are ended."""
        logger.error("this worker was silent for too long; its claims were taken away, and its running jobs are ended")
        numbers = {number for number, name in self._slots.incarnations if name in lost}
        self._slots.incarnations = [each for each in self._slots.incarnations if each[1] not in lost]
        self._tell_children(lost=lost)
        self._children.end(
            slot for slot in self._slots.live() if any(place.get("incarnation") in numbers for place in slot.shown)
        )
        if not self._slots.incarnations:
            self._incarnate(after=numbers)

    # -- telling ------------------------------------------------------------------------------------------------

    def _tell(self, **news: Any) -> None:
        """To the worker, to the children, or to both."""
        self._card.is_full = news.get("full", self._card.is_full)
        if "lost" in news:
            self._lose(news["lost"])
        if news.get("changed", 0) > self._changed_ms:
            if self._slots.incarnations and self._ward.database_url is not None:
                logger.warning("Redis was restarted or replaced; messages from before are looked up in the ledger")
                self._incarnate(after=())
            self._changed_ms = news["changed"]
        to_children = {name: value for name, value in news.items() if name in TO_CHILDREN}
        if to_children:
            self._tell_children(**to_children)
        to_worker = {name: value for name, value in news.items() if name in TO_WORKER}
        if to_worker:
            super()._tell(**to_worker)

    def _tell_children(self, **news: Any) -> None:
        for name in ("worker", "incarnation", "full", "changed", "unknown", "broken"):
            if name in news:
                self._known[name] = news[name]
        for fork in list(self._lines):
            self._say(fork, news)

    def _say(self, fork: int, news: dict[str, Any]) -> None:
        """A child that is stopped must not stop its keeper as well: it is told again when it calls again."""
        try:
            self._lines[fork].send(frame(news))
        except BlockingIOError:
            self.lose_child(self._lines[fork], fork)
        except OSError:
            pass  # It has ended, and its line says so.

    def _places(self) -> tuple[int, bool]:
        slots = self._slots.live()
        return sum(len(slot.places) for slot in slots), all(slot.is_single for slot in slots)

    # -- the end ------------------------------------------------------------------------------------------------

    def _notice_lonely_children(self) -> None:
        """When the worker has died, the kernel has ended zygote and children; what they handed over is in the rings."""
        if os.getppid() != self._parent and not self._ended:
            self._ended = True

    def _finish(self) -> None:
        deadline = time.monotonic() + self._ward.lease_seconds
        for slot in self._slots.live():
            # Nobody sees off what the kernel has ended with the worker.
            while lives(slot.get("pid")) and time.monotonic() < deadline:
                time.sleep(0.005)
            slot.put("exit_status", signal.SIGKILL)
            slot.put("standing", Standing.DEAD)
        while time.monotonic() < deadline and not (self._children.is_idle and not self._slots.of(Standing.DEAD)):
            super()._turn()
        self._said_goodbye = True  # Whatever crashed was counted by now, and all else was never started.
        super()._finish()


class _Caller:
    """Somebody whose first words say who it is."""

    def __init__(self, keeper: PoolKeeper, line: socket.socket) -> None:
        self._keeper = keeper
        self._line = line
        self._frames = Frames()
        self._fork: int | None = None

    def read(self) -> None:
        """Takes what it says."""
        try:
            chunk = self._line.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._keeper.lose_child(self._line, self._fork or 0)
            return
        for message in self._frames.feed(chunk):
            if message == "nudge":
                self._keeper.nudged()
            elif "child" in message:
                self._fork = message["fork"]
                self._keeper.take_child(self._line, message["fork"])
            elif "worker" in message:
                self._keeper.take_worker(self._line, message["worker"], self._frames.rest())
                return
