"""The zygote: forks the keeper and the children of a worker, and watches over the children.

It is forked from the worker before that has threads or connections, and has none itself, so it can fork at any time;
all memory that was there by then stays shared. It does no I/O but with its worker, so nothing makes it late: time
limits, memory limits and replacements are its.

    worker ──target, drain, restart──► zygote ──fork──► keeper, child, child …

When it dies, the kernel ends its children; their jobs go back. When the worker dies, the kernel ends the zygote. The
keeper is tied to neither, so that it can put their claims in order; it ends when it has.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from importlib import import_module
from itertools import count
from typing import Any

from celery import platforms, signals

from penstock.broker import envelope
from penstock.engine import child
from penstock.engine.child import Plan
from penstock.engine.keeping import LEASE_SECONDS
from penstock.engine.place import Place, Running
from penstock.engine.processes import ending, is_stopped, name_process, resident_kib, tie_to_parent
from penstock.engine.running import limits
from penstock.engine.slots import ASK, Orders, Reason, Slot, Standing

logger = logging.getLogger("penstock.zygote")
TICK_SECONDS, REST_SECONDS = 0.05, 1.0
"""Between two looks at the slots: while something runs that has a limit, and otherwise."""
MEMORY_SECONDS = 0.2
SHORT_LIFE_SECONDS = 2.0
FIRST_PAUSE, LAST_PAUSE = 0.1, 5.0
"""Before a child is forked in place of one that ended right after its start; twice as long each time."""
INSIST_SECONDS = 5.0
GRACE_SECONDS = 10.0
"""How long a keeper may go on after everybody else has ended."""


class Zygote:
    """Of one worker."""

    def __init__(self, plan: Plan, commands: socket.socket, keep: Callable[[], None]) -> None:
        """Args:
        commands: to the worker; a line of JSON each.
        keep: what the keeper's process does.
        """
        self._plan = plan
        self._slots = plan.slots
        self._commands = commands
        self._keep = keep
        self._unread = bytearray()
        self._forks = 0
        self._children: dict[int, tuple[Slot, float]] = {}
        self._keeper = 0
        self._patience = float(plan.transport_options.get("lease_seconds", LEASE_SECONDS)) / 3
        """How long a keeper may be stopped."""
        self._keeper_stopped: float | None = None
        self._pause = 0.0
        self._not_before = 0.0
        self._looked_at_memory = 0.0
        self._terminated: dict[tuple[int, int], float] = {}
        """Since when jobs are to end that somebody has revoked, by child and number."""
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Until the worker has said that it ends, and all children have."""
        name_process("penstock-zygote")
        for ignored in ("SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"):
            platforms.signals.ignore(ignored)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._slots.waker, warn_on_full_buffer=False)
        self._selector.register(self._slots.woken, selectors.EVENT_READ, lambda: self._slots.woken.recv(1 << 12))
        self._selector.register(self._commands, selectors.EVENT_READ, self._read)
        while not self._slots.is_closing or self._children:
            self._turn()
        self._see_keeper_off()

    def _turn(self) -> None:
        self._bury()
        if not self._slots.is_closing:
            self._replace_stopped_keeper()
            self._fork_keeper()
            self._fork_missing()
        self._drain_surplus()
        has_limits = self._enforce()
        wait = TICK_SECONDS if has_limits or self._not_before > time.monotonic() else REST_SECONDS
        if wait == REST_SECONDS:
            # It says so and looks once more: a job with a limit that starts afterwards wakes it.
            self._slots.zygote_sleeps = True
            wait = TICK_SECONDS if self._has_limits() else REST_SECONDS
        for key, _ in self._selector.select(wait):
            key.data()
        self._slots.zygote_sleeps = False

    def _read(self) -> None:
        chunk = self._commands.recv(1 << 16)
        if not chunk:  # The worker has died, and this process is about to.
            os._exit(1)
        *lines, rest = bytes(self._unread + chunk).split(b"\n")
        self._unread[:] = rest
        for line in lines:
            command = json.loads(line)
            if "restart" in command:
                self._restart(command["restart"])

    def _restart(self, modules: list[str]) -> None:
        """Lets every child go on to the end of its job, and forks others that know these modules."""
        for name in modules:
            try:
                import_module(name)
            except Exception:
                logger.exception("module %s cannot be imported; the new children do without it", name)
        for slot, _ in self._children.values():
            self._drain(slot)

    # -- forking ------------------------------------------------------------------------------------------------

    def _fork_keeper(self) -> None:
        if self._keeper or time.monotonic() < self._not_before:
            return
        self._keeper = self._slots.keeper = self._fork(self._be_keeper)

    def _replace_stopped_keeper(self) -> None:
        """Somebody has stopped it, and goes on to: the lease would end, and jobs that run here would start elsewhere.

        The next one reads on in the rings where this one was, and this one is gone before there is another.
        """
        if not self._keeper or not is_stopped(self._keeper):
            self._keeper_stopped = None
            return
        now = time.monotonic()
        self._keeper_stopped = self._keeper_stopped or now
        if now - self._keeper_stopped > self._patience:
            logger.error("the keeper was stopped for %.1f s; it is ended", now - self._keeper_stopped)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._keeper, signal.SIGKILL)

    def _be_keeper(self) -> int:
        name_process("penstock-keeper")
        self._keep()
        return 0

    def _fork_missing(self) -> None:
        living = sum(slot.get("orders") != Orders.DRAIN for slot, _ in self._children.values())
        for _ in range(self._slots.target - living):
            slot = self._slots.free()
            if slot is None or time.monotonic() < self._not_before:
                return
            self._fork_child(slot)

    def _fork_child(self, slot: Slot) -> None:
        self._forks += 1
        slot.clear()
        slot.put("fork", self._forks)
        slot.put("place", self._free_place())
        signals.worker_before_create_process.send(sender=self)
        self._slots.note_used(slot.index)
        pid = self._fork(lambda: self._be_child(slot))
        if pid:
            slot.put("pid", pid)
            slot.put("standing", Standing.LIVE)
            self._children[pid] = slot, time.monotonic()

    def _free_place(self) -> int:
        """The lowest number that no living child has: by it its log file and its lines are named."""
        taken = {slot.get("place") for slot, _ in self._children.values()}
        return next(place for place in count() if place not in taken)

    def _be_child(self, slot: Slot) -> int:
        tie_to_parent()
        name_process("penstock-child")
        # The zygote writes both as well; whoever is first, the child must not claim before they are there.
        slot.put("pid", os.getpid())
        slot.put("standing", Standing.LIVE)
        return child.live(self._plan, slot)

    def _fork(self, live: Callable[[], int]) -> int:
        """Forks a process that does this and nothing else; its id, or 0 when the system has no room for it."""
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            logger.error("cannot fork (%s); trying again", error)
            self._wait_longer()
            return 0
        if pid:
            return pid
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            self._commands.close()
            code = live()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            logger.exception("a process of this worker ends (child of %s)", parent)
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
                logging.shutdown()
            os._exit(code)

    def _wait_longer(self) -> None:
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), LAST_PAUSE)
        self._not_before = time.monotonic() + self._pause

    # -- ends ---------------------------------------------------------------------------------------------------

    def _bury(self) -> None:
        """Sees off those that have ended. The slot stays as it is, for the keeper."""
        for pid in (*self._children, *([self._keeper] if self._keeper else ())):
            try:
                found, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                found, status = pid, 0
            if not found:
                continue
            if pid == self._keeper:
                self._keeper = self._slots.keeper = 0
                if not self._slots.is_closing:
                    logger.error("the keeper ended (%s); another goes on", ending(status))
                    self._not_before = time.monotonic()
            else:
                self._bury_child(pid, status)

    def _bury_child(self, pid: int, status: int) -> None:
        slot, born = self._children.pop(pid)
        self._terminated = {key: since for key, since in self._terminated.items() if key[0] != pid}
        shown = slot.shown
        if status and not any(place.get("reason_for") == place.get("number") for place in shown):
            running = [running for place in shown if (running := place.running()) is not None]
            logger.error(
                "child %d ended (%s)%s", pid, ending(status), f" while it ran {_titles(running)}" if running else ""
            )
        slot.put("exit_status", status)
        self._slots.retired += slot.get("done")
        slot.put("done", 0)
        slot.put("standing", Standing.DEAD)
        if time.monotonic() - born < SHORT_LIFE_SECONDS and not shown and status:
            self._wait_longer()
        else:
            self._pause = 0.0

    def _see_keeper_off(self) -> None:
        """It puts in order what the others have left."""
        deadline = time.monotonic() + GRACE_SECONDS
        while self._keeper and time.monotonic() < deadline:
            self._bury()
            time.sleep(0.01)

    # -- surplus and limits -------------------------------------------------------------------------------------

    def _drain_surplus(self) -> None:
        staying = [slot for slot, _ in self._children.values() if slot.get("orders") != Orders.DRAIN]
        surplus = len(staying) - (0 if self._slots.is_closing else self._slots.target)
        if surplus > 0:
            # Those first who run nothing.
            for slot in sorted(staying, key=lambda each: each.is_busy)[:surplus]:
                self._drain(slot)

    def _drain(self, slot: Slot) -> None:
        slot.put("orders", Orders.DRAIN)
        self._signal(slot.get("pid"), ASK)

    def _enforce(self) -> bool:
        """Ends what has run for too long, or has grown too large; whether there is anything to watch."""
        watched = False
        now = time.monotonic()
        for pid, (slot, _) in self._children.items():
            for place in slot.shown:
                watched = self._enforce_in(pid, slot, place, now) or watched
        if (most := self._plan.max_memory_kib) and now - self._looked_at_memory > MEMORY_SECONDS:
            self._looked_at_memory = now
            self._cap_memory(most)
        return watched or bool(most and any(slot.is_busy for slot, _ in self._children.values()))

    def _enforce_in(self, pid: int, slot: Slot, place: Place, now: float) -> bool:
        number, started, soft, hard = place.limits()
        if not number:
            return False
        is_terminated = place.has_reason(Reason.TERMINATED)
        if is_terminated or (place.has_reason(Reason.HARD_LIMIT) and not slot.is_single):
            self._insist(pid, slot, number, now)
        if hard and now - started >= hard:
            self._end_job(pid, slot, place, number, Reason.HARD_LIMIT)
        elif soft and now - started >= soft and place.get("soft_target") != number and place.get("warned") != number:
            self._warn(pid, slot, place, number)
        return bool(is_terminated or soft or hard)

    def _end_job(self, pid: int, slot: Slot, place: Place, number: int, reason: Reason) -> None:
        """With its child, unless that runs others as well and can cancel it."""
        if slot.is_single:
            self._kill(pid, place, number, reason)
        elif place.get("reason_for") != number:
            place.give_reason(reason)
            self._signal(pid, ASK)

    @staticmethod
    def _signal(pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def _has_limits(self) -> bool:
        """Whether something runs that has a limit."""
        looks = (place.limits() for slot, _ in self._children.values() for place in slot.shown)
        return any(number and (soft or hard) for number, _, soft, hard in looks)

    def _insist(self, pid: int, slot: Slot, number: int, now: float) -> None:
        """A job that was to be terminated has some seconds to see to it; code that is not Python's hears no signal.

        One of many is cancelled once more: others must not pay for what it swallows.
        """
        since = self._terminated.setdefault((pid, number), now)
        if now - since > INSIST_SECONDS:
            if not slot.is_single:
                del self._terminated[pid, number]
            self._signal(pid, signal.SIGKILL if slot.is_single else ASK)

    def _warn(self, pid: int, slot: Slot, place: Place, number: int) -> None:
        running = place.running()
        if running is not None and running.number == number:
            self._tell_worker(running, place.time("soft_limit"))
        place.put("soft_target", number)
        place.put("warned", number)
        self._signal(pid, limits.SIGNAL if slot.is_single else ASK)

    def _tell_worker(self, running: Running, limit: float) -> None:
        """Of a soft limit: the task's own request may want to know. A worker that is stopped must not stop this."""
        told = {
            "pid": running.pid,
            "fork": running.fork,
            "token": running.token,
            "queue": running.queue,
            "deliveries": running.deliveries,
            "started_at": running.started_at,
            "raw": running.raw.decode("latin-1") if running.raw is not None else None,
            "limit": limit,
        }
        with contextlib.suppress(OSError):
            self._commands.send(json.dumps({"warned": told}).encode() + b"\n", socket.MSG_DONTWAIT)

    def _cap_memory(self, most: int) -> None:
        """A child that has grown beyond the limit between two jobs ends by itself; one in the middle of a job, whose
        growth nobody else stops, may have a quarter more.
        """
        for pid, (slot, _) in self._children.items():
            in_bodies = [(place, number) for place in slot.shown if (number := place.limits()[0])]
            if in_bodies and resident_kib(pid) > most * 1.25:
                logger.error("child %d has more than %d KiB; it is ended", pid, int(most * 1.25))
                for place, number in in_bodies:
                    self._kill(pid, place, number, Reason.MEMORY)

    def _kill(self, pid: int, place: Place, number: int, reason: Reason) -> None:
        if place.get("reason_for") == number:
            return  # It is on its way.
        place.put("reason", reason)
        place.put("reason_for", number)
        self._signal(pid, signal.SIGKILL)


def _titles(running: list[Running]) -> str:
    """The first of them, and how many others there are."""
    others = f" and {len(running) - 1} other jobs" if running[1:] else ""
    return f"{_title(running[0])}{others}"


def _title(running: Running) -> str:
    headers: dict[str, Any] = {}
    if running.raw is not None:
        with contextlib.suppress(envelope.Unreadable):
            headers = envelope.read(running.raw)["headers"]
    return f"{headers.get('task')}[{headers.get('id')}]"
