"""The worker's side of its keeper: starts it, hands records and settlements over, hears what it has found out.

They go to another process so that the worker never waits for SQL or Redis, and so that they outlive the worker. They
are kept here until the keeper confirms them: if the keeper dies, the next one gets them again, in their order. Settling
twice is harmless, because a settled token owns nothing; recording twice is, because the row has its token.
"""

from __future__ import annotations

import contextlib
import json
import logging
import marshal
import os
import socket
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from penstock.broker.scripts import REFUSED, Settlement
from penstock.engine.attempts import Attempt
from penstock.engine.reporting.attempt import Packet
from penstock.ledger.records import Record

logger = logging.getLogger(__name__)
STOP_SECONDS = 10.0
"""How long a keeper may take to put its settlements and its worker's claims in order at the end."""
READ_BYTES = 1 << 16
REPORT_SECONDS = 2.0
"""How long a report may wait for a keeper that is busy, before it is dropped."""


class KeeperLink:
    """A keeper process and the socket to it. Constructing starts nothing."""

    stop_seconds = STOP_SECONDS

    def __init__(self, config: dict[str, Any], on_news: Callable[[dict[str, Any]], None]) -> None:
        self._config = config
        self._on_news = on_news
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.RLock()
        self._reading = threading.Lock()
        self._unsent = bytearray()
        self._unread = bytearray()
        self._unconfirmed: OrderedDict[int, bytes] = OrderedDict()
        self._number = 0
        self._reports: socket.socket | None = None
        self._prompt_reports: socket.socket | None = None
        """The same for those who must not wait. Each has a time limit of its own, whatever flags a send has."""
        self._reports_read: socket.socket | None = None
        self._facts: dict[str, Any] = {}
        self._owner = os.getpid()
        self.flushes_itself = True
        """Whether words leave at once; False when somebody calls :meth:`flush` on each turn of an event loop."""
        self._hub: Any = None

    def open(self) -> None:
        """Makes the socket, before the pool forks: children hold it as well, so that its end means that all ended."""
        self._theirs: socket.socket | None
        self._socket, self._theirs = socket.socketpair()
        self._socket.setblocking(False)
        if self._reports is None:
            # Datagrams, because many processes write into it: each arrives whole. Whoever keeps next reads on.
            self._reports, self._reports_read = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._prompt_reports = self._reports.dup()
            self._prompt_reports.setblocking(False)
            self._reports.settimeout(REPORT_SECONDS)

    def start(self) -> None:
        """Starts the keeper, or a new one in place of one that died."""
        with self._lock:
            if self._socket is None or self._theirs is None:
                self.open()
            self._listen()
            theirs, self._theirs = self._theirs, None
            assert theirs is not None
            assert self._reports_read is not None
            sockets = theirs.fileno(), self._reports_read.fileno()
            command = [sys.executable, "-m", "penstock.engine.keeper", *map(str, sockets), str(os.getpid())]
            self._process = subprocess.Popen(command, pass_fds=sockets, stdin=subprocess.DEVNULL)
            theirs.close()
            self._unsent.clear()
            self._send({"config": self._config, **self._facts})
            for line in self._unconfirmed.values():
                self._unsent += line
            self.flush()

    def watch(self) -> None:
        """Hears the keeper, sends what its socket had no room for, and replaces it if it died. Call it often."""
        self._hear()
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                logger.error("the keeper ended with code %s; starting another", self._process.returncode)
                self._close_socket()
                self.start()
            self.flush()

    def join(self, hub: Any) -> None:
        """Has kombu's event loop call :meth:`watch` as soon as the keeper says something, or dies.

        Whoever waits for an answer, as a job that follows from another, would otherwise wait for the next watch.
        """
        self._hub = hub
        self._listen()

    def _listen(self) -> None:
        if self._hub is not None and self._socket is not None:
            self._hub.add_reader(self._socket.fileno(), self.watch)

    def stop(self) -> None:
        """Has the keeper settle what it has, give back what the worker still holds, and end."""
        with self._lock:
            process, self._process = self._process, None
            if process is None:
                return
            self._send({"bye": True})
            assert self._socket is not None
            self._socket.setblocking(True)
            self._socket.settimeout(self.stop_seconds)
            with contextlib.suppress(OSError):
                self._socket.sendall(self._unsent)
        try:
            process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            logger.warning("the keeper is still at work; it ends by itself, or the lease does")
        self._close_socket()

    @property
    def pid(self) -> int | None:
        """The keeper's process id while it runs."""
        return self._process.pid if self._process else None

    # -- what the worker tells ----------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether this process is the worker, and has a keeper."""
        return self._process is not None and self._is_owner

    @property
    def _is_owner(self) -> bool:
        """Whether this is the process that made the link, and none that it forked."""
        return self._owner == os.getpid()

    def settle(self, settlement: Settlement) -> None:
        """Has a claim ended; from any thread; never waits. What was recorded of the claim before is written before."""
        self._send_kept("settle", json.dumps(settlement, separators=(",", ":")))

    def record(self, record: Record) -> None:
        """Has a record written; from any thread; never waits."""
        self.record_words(json.dumps(record.to_words(), separators=(",", ":")))

    def record_words(self, words: str) -> None:
        """:meth:`record` for the words of a record, as JSON."""
        self._send_kept("record", words)

    def ask(self, record: Record, is_doubtful: bool) -> None:
        """Asks whether a delivery may start; the news ``started`` bring its token and the verdict.

        Args:
            is_doubtful: it may be the message of a job that runs elsewhere at this moment.
        """
        words = json.dumps(record.to_words(), separators=(",", ":"))
        self._send_kept("doubt" if is_doubtful else "ask", words)

    def note(self, record: Record) -> None:
        """Has it written that jobs run which have been running for a while; a keeper that dies may forget it."""
        with self._lock:
            self._send({"note": record.to_words()})

    def report(self, record: Record) -> None:
        """Has it written what a running job says of itself; also from processes that the worker has forked."""
        assert self._reports is not None
        try:
            self._reports.send(json.dumps({"note": record.to_words()}).encode())
        except OSError as error:
            logger.warning("a report of %s is dropped: %s", record.delivery.id, error)

    def tell_attempt(self, attempt: Attempt) -> None:
        """Has an attempt counted by a breaker, without waiting; also from processes that the worker has forked."""
        assert self._prompt_reports is not None
        with contextlib.suppress(OSError):  # Of a keeper that is gone or stands still; others follow.
            self._prompt_reports.send(json.dumps({"attempt": attempt}).encode())

    def hand_over(self, packet: Packet) -> bool:
        """Hands over what a job says of itself, without waiting; False when there is no room. From any process."""
        assert self._prompt_reports is not None
        try:
            self._prompt_reports.send(marshal.dumps(tuple(packet)))
        except OSError:
            return False
        return True

    def unindex(self, jobs: list[tuple[str, str]]) -> None:
        """Has claimed jobs taken off the waiting index."""
        with self._lock:
            self._send({"unindex": jobs})

    def retire(self, worker: str, left: list[str]) -> None:
        """Has what Redis still shows under an older incarnation given back; ``left`` are those to be renewed."""
        with self._lock:
            self._facts["workers"] = left
            self._send({"retire": worker})

    def tell(self, **facts: Any) -> None:
        """Tells what holds from now on, also for a keeper that comes later: ``workers``, ``queues``, ``draining``."""
        with self._lock:
            self._facts.update(facts)
            if self._process is not None:
                self._send(facts)

    def _send_kept(self, kind: str, words: str) -> None:
        """Sends words that count, under a number by which the keeper confirms them."""
        with self._lock:
            self._number += 1
            line = f'{{"{kind}":[{self._number},{words}]}}\n'.encode()
            self._unconfirmed[self._number] = line
            self._unsent += line
            if self.flushes_itself:
                self.flush()

    def _send(self, message: dict[str, Any]) -> None:
        self._unsent += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        if self.flushes_itself:
            self.flush()

    def flush(self) -> None:
        """Writes what the socket takes; a keeper that is busy with a slow Redis gets the rest later."""
        if not self._unsent:
            return
        # A buffer cannot grow while it is sent: without the lock, what a thread says at that moment would fail, be
        # kept for the next keeper and never reach this one.
        with self._lock:
            if self._socket is None or not self._is_owner:
                return
            try:
                while self._unsent:
                    del self._unsent[: self._socket.send(self._unsent)]
            except BlockingIOError:
                pass
            except OSError:
                self._unsent.clear()  # The keeper died; :meth:`watch` starts another and repeats what counts.

    # -- what the keeper tells ----------------------------------------------------------------------------------

    def _hear(self) -> None:
        if self._socket is None or not self._reading.acquire(blocking=False):
            return
        try:
            for line in self._lines():
                self._take(json.loads(line))
        finally:
            self._reading.release()

    def _lines(self) -> list[bytes]:
        with contextlib.suppress(BlockingIOError, OSError):
            while chunk := self._socket.recv(READ_BYTES) if self._socket else b"":
                self._unread += chunk
        *lines, rest = bytes(self._unread).split(b"\n")
        self._unread[:] = rest
        return lines

    def _take(self, news: dict[str, Any]) -> None:
        for number in news.get("confirmed", ()):
            with self._lock:
                self._unconfirmed.pop(number, None)
        for number, answer in news.get("settled", ()):
            with self._lock:
                line = self._unconfirmed.pop(number, None)
            if line and answer == REFUSED:
                _, (_, on, token, verb, *_) = json.loads(line)["settle"]
                logger.warning("%s of claim %s on %s was refused: it is not ours any more", verb, token, on)
        if news.keys() - {"settled", "confirmed"}:
            self._on_news(news)

    def _close_socket(self) -> None:
        if self._socket is not None:
            if self._hub is not None:
                # Before it is closed: children hold it as well, so the system goes on to tell of it.
                self._hub.remove_reader(self._socket.fileno())
            self._socket.close()
        self._socket = None
        self._unread.clear()
