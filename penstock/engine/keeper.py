"""The keeper: one process per worker that runs no user code, and keeps the worker's claims in order.

A child may hold the interpreter for minutes and a worker's loop may block; the keeper does neither, so the lease is
renewed as long as the worker lives. It ends with its worker: when the socket that the worker and all of its children
hold is closed by the last of them, nobody can be running a job any more, and the claims go back to their queues.

    worker and children --record, ask, settle, queues, bye--> keeper --batches--> SQL
                        <--started, settled, lost, revoked--        --scripts--> Redis
"""

from __future__ import annotations

import contextlib
import json
import logging
import marshal
import os
import selectors
import signal
import socket
import sys
import time
from typing import Any

from redis.exceptions import RedisError

from penstock.broker.connection import connect
from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts
from penstock.engine.attempts import Attempt
from penstock.engine.keeping import Duty, Ward
from penstock.engine.keeping.adopt import Adopt
from penstock.engine.keeping.breakers import Breakers
from penstock.engine.keeping.card import Card
from penstock.engine.keeping.depths import Depths
from penstock.engine.keeping.identity import Identity
from penstock.engine.keeping.news import News
from penstock.engine.keeping.outcomes import Outcomes
from penstock.engine.keeping.promote import Promote
from penstock.engine.keeping.reap import Reap
from penstock.engine.keeping.renew import Renew
from penstock.engine.keeping.settle import Settle
from penstock.engine.keeping.sweep import Sweep
from penstock.engine.keeping.watch import Watch
from penstock.engine.reporting.attempt import Packet
from penstock.retention import read_rules

logger = logging.getLogger("penstock.keeper")
READ_BYTES = 1 << 18
SWITCH_SECONDS = 0.0005
"""After so long a thread gives way to another. Each answer of SQL is waited for by one, and worked on at once."""
LONGEST_WAIT = 1.0
MOST_REPORTS = 200
"""Of what jobs say of themselves, so much is read in one turn."""
AGAIN_SECONDS = 0.25
"""Pause before a duty that failed is tried again."""


def main() -> None:
    """Keeps the worker whose sockets and process id are the arguments."""
    logging.basicConfig(level=logging.WARNING, format="[%(asctime)s: %(levelname)s/keeper] %(message)s")
    ignore_signals()
    link, reports = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    Keeper(link, reports, parent=int(sys.argv[3])).run()


def ignore_signals() -> None:
    """A terminal or a service manager signals the whole group: the keeper ends after its worker, not with it."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(ignored, signal.SIG_IGN)


class Keeper:
    """Reads what the worker tells and lets each duty act when its time has come."""

    def __init__(self, link: socket.socket, reports: socket.socket, parent: int) -> None:
        """Args:
        link: to the worker; its children hold the other end as well.
        reports: what jobs say of themselves while they run, a datagram each.
        parent: process id of the worker, which may have died before this process could ask for it.
        """
        self._link = link
        self._reports = reports
        self._unread = bytearray()
        self._unsaid = bytearray()
        self._parent = parent
        self._orphaned: float | None = None
        self._ended = False
        self._said_goodbye = False
        self._is_draining = False
        self._card = Card(self._places, self._away_since)
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Until the worker has ended and everything of it is in order."""
        self._selector.register(self._link, selectors.EVENT_READ, self._read)
        first = self._wait_for_config()
        if first is None:
            return
        self._begin(first["config"])
        self._selector.register(self._reports, selectors.EVENT_READ, self._read_reports)
        self._take(first)
        self._take_unread()
        while not self._ended:
            self._turn()
        self._finish()
        self._outcomes.close()

    def _begin(self, config: dict[str, Any]) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        self._ward = ward = _ward(config, self._tell, self._selector)
        self._settle = Settle(ward)
        self._breakers = Breakers(ward, config["breakers"])
        self._outcomes = Outcomes(ward, config["database_url"], self._settle, self._breakers.notice)
        self._renew = Renew(ward, self._card)
        # In this order when several are due: what a commit has brought is published before its claim ends.
        promote, watch = Promote(ward), Watch(ward)
        self._duties: list[Duty] = [self._renew, self._outcomes, self._settle, News(ward), promote, watch]
        self._duties += [Reap(ward), Identity(ward), Adopt(ward), Sweep(ward), self._breakers]
        if (counting := self._outcomes.counting) is not None:
            self._duties.append(Depths(ward, watch, promote, counting))

    def _turn(self) -> None:
        wait = min(max(min(duty.due for duty in self._duties) - time.monotonic(), 0), LONGEST_WAIT)
        for key, _ in self._selector.select(wait):
            key.data()
        now = time.monotonic()
        for duty in self._duties:
            if duty.due <= now:
                _perform(duty)
        self._speak()
        self._notice_lonely_children()

    def _finish(self) -> None:
        """Settles what was handed over, then gives back the rest: as crashes, unless the worker said goodbye."""
        deadline = time.monotonic() + self._ward.lease_seconds
        while time.monotonic() < deadline:
            try:
                self._await_outcomes(deadline)
                self._outcomes.spool()
                self._settle.perform()
                self._read_reports()
                # Also of probes that are given back now: nobody would answer for them until another pause is over.
                self._breakers.count_all()
                self._resign()
                for worker in self._ward.workers:
                    self._ward.scripts.retire(
                        worker, counted=not self._said_goodbye, crash_limit=self._ward.crash_limit
                    )
                return
            except (RedisError, OSError) as error:
                logger.warning("cannot give back claims yet: %s", error)
                time.sleep(AGAIN_SECONDS)

    def _resign(self) -> None:
        """From the roles of this keeper, or jobs for later and those of stock producers would wait for their end."""
        keys = self._ward.scripts.keys
        for role in (keys.promoter, keys.canceller, keys.breaker_keeper, *map(keys.watcher, self._card.served)):
            self._ward.resign(role)

    def _await_outcomes(self, deadline: float) -> None:
        while not self._outcomes.is_idle and time.monotonic() < deadline:
            self._turn()

    def _notice_lonely_children(self) -> None:
        """A worker that died closes the socket with its last child; one that will not end must not hold claims."""
        if os.getppid() != self._parent and not self._ended:
            self._orphaned = self._orphaned or time.monotonic()
            self._ended = time.monotonic() - self._orphaned > self._ward.lease_seconds

    def _places(self) -> tuple[int, bool]:
        """Celery's own pools keep to themselves how many jobs they take."""
        return 0, True

    def _away_since(self) -> float | None:
        return self._outcomes.away_since

    # -- the worker's words -------------------------------------------------------------------------------------

    def _wait_for_config(self) -> dict[str, Any] | None:
        while True:
            chunk = self._link.recv(READ_BYTES)
            if not chunk:
                return None
            self._unread += chunk
            line, newline, rest = bytes(self._unread).partition(b"\n")
            if newline:
                self._unread[:] = rest
                self._link.setblocking(False)
                return dict(json.loads(line))

    def _read(self) -> None:
        try:
            chunk = self._link.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._ended = True
            self._selector.unregister(self._link)
            return
        self._unread += chunk
        # What a body has said before it ended has come before the word of its end, but by another way: it is taken
        # first, or whoever reads the job when it has ended would not find it. All of it is there by now, and no more
        # than is taken at once, unless net.unix.max_dgram_qlen was raised that far.
        self._read_reports()
        self._take_unread()

    def _read_reports(self) -> None:
        """What jobs say of themselves: Celery's words as JSON, ours as packets."""
        # Only so many: the lease is renewed between two turns, whatever bodies say meanwhile.
        for _ in range(MOST_REPORTS):
            try:
                told = self._reports.recv(READ_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not told:
                return
            self._take_report(told)

    def _take_report(self, told: bytes) -> None:
        if told.startswith(b"{"):
            words = json.loads(told)
            self._outcomes.take(words)
            if "attempt" in words:
                self._breakers.count(Attempt(*words["attempt"]))
        elif (reports := self._outcomes.reports) is not None:
            reports.take(Packet._make(marshal.loads(told)))  # noqa: S302  written by a process of this worker

    def _take_unread(self) -> None:
        *lines, rest = bytes(self._unread).split(b"\n")
        self._unread[:] = rest
        for line in lines:
            self._take(json.loads(line))

    def _take(self, words: dict[str, Any]) -> None:
        if settlement := words.get("settle"):
            number, parts = settlement
            self._outcomes.settle(number, parts)
        self._outcomes.take(words)
        if jobs := words.get("unindex"):
            self._settle.add_claimed(jobs)
        if "workers" in words:
            self._ward.workers = words["workers"]
        if "queues" in words:
            self._ward.queues = words["queues"]
            self._card.served.update(words["queues"])
            self._renew.look()
        if "retire" in words:
            self._settle.retire(words["retire"])
        if words.get("draining"):
            self._is_draining = True
            self._note_draining()
        if words.get("bye"):
            self._said_goodbye = self._ended = True

    def _note_draining(self) -> None:
        """Only for those who look: the worker ends whether it could be noted or not."""
        with contextlib.suppress(RedisError, OSError):
            for worker in self._ward.workers:
                self._ward.scripts.drain(worker)

    def _tell(self, **news: Any) -> None:
        """Tells the worker, now or when it listens again. Whoever is stopped must not stop its keeper as well."""
        self._card.is_full = news.get("full", self._card.is_full)
        self._unsaid += json.dumps(news).encode() + b"\n"
        self._speak()

    def _speak(self) -> None:
        with contextlib.suppress(OSError):  # It has no room, or it is about to end.
            while self._unsaid:
                del self._unsaid[: self._link.send(self._unsaid)]


def _ward(config: dict[str, Any], tell: Any, selector: selectors.BaseSelector) -> Ward:
    client = connect(config["broker_url"], config["transport_options"])
    return Ward(
        scripts=Scripts(client, Keys(config["prefix"])),
        tell=tell,
        selector=selector,
        broker_url=config["broker_url"],
        transport_options=config["transport_options"],
        database_url=config["database_url"],
        lease_seconds=config["lease_seconds"],
        crash_limit=config["crash_limit"],
        retention=read_rules(config["retention"]),
        workers=config["workers"],
        queues=config["queues"],
    )


def _perform(duty: Duty) -> None:
    try:
        duty.due = time.monotonic() + duty.perform()
        duty.failures = 0
    except (RedisError, OSError) as error:
        duty.failures += 1
        if duty.failures == 1:
            logger.warning("%s: %s; trying again", type(duty).__name__.lower(), error)
        duty.due = time.monotonic() + AGAIN_SECONDS


if __name__ == "__main__":
    main()
