"""The worker's side of its keeper: starts it, hands settlements over, hears what it has found out.

Settlements go to another process so that the worker never waits for Redis, and so that they outlive the worker. They
are kept here until the keeper confirms them: if the keeper dies, the next one gets them again, and settling twice is
harmless, because a settled token owns nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from penstock.broker.scripts import REFUSED, Settlement

logger = logging.getLogger(__name__)
STOP_SECONDS = 10.0
"""How long a keeper may take to put its settlements and its worker's claims in order at the end."""
READ_BYTES = 1 << 16


class KeeperLink:
    """A keeper process and the socket to it. Constructing starts nothing."""

    def __init__(self, config: dict[str, Any], on_news: Callable[[dict[str, Any]], None]) -> None:
        self._config = config
        self._on_news = on_news
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.RLock()
        self._reading = threading.Lock()
        self._unsent = bytearray()
        self._unread = bytearray()
        self._unconfirmed: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._number = 0
        self._facts: dict[str, Any] = {}
        self._owner = os.getpid()
        self.flushes_itself = True
        """Whether words leave at once; False when somebody calls :meth:`flush` on each turn of an event loop."""

    def open(self) -> None:
        """Makes the socket, before the pool forks: children hold it as well, so that its end means that all ended."""
        self._theirs: socket.socket | None
        self._socket, self._theirs = socket.socketpair()
        self._socket.setblocking(False)

    def start(self) -> None:
        """Starts the keeper, or a new one in place of one that died."""
        with self._lock:
            if self._socket is None or self._theirs is None:
                self.open()
            theirs, self._theirs = self._theirs, None
            assert theirs is not None
            command = [sys.executable, "-m", "penstock.engine.keeper", str(theirs.fileno()), str(os.getpid())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            theirs.close()
            self._unsent.clear()
            self._send({"config": self._config, **self._facts})
            for words in self._unconfirmed.values():
                self._send(words)

    def watch(self) -> None:
        """Hears the keeper, sends what its socket had no room for, and replaces it if it died. Call it often."""
        self._hear()
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                logger.error("the keeper ended with code %s; starting another", self._process.returncode)
                self._close_socket()
                self.start()
            self.flush()

    def stop(self) -> None:
        """Has the keeper settle what it has, give back what the worker still holds, and end."""
        with self._lock:
            process, self._process = self._process, None
            if process is None:
                return
            self._send({"bye": True})
            assert self._socket is not None
            self._socket.setblocking(True)
            self._socket.settimeout(STOP_SECONDS)
            with contextlib.suppress(OSError):
                self._socket.sendall(self._unsent)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("the keeper is still at work; it ends by itself, or the lease does")
        self._close_socket()

    @property
    def pid(self) -> int | None:
        """The keeper's process id while it runs."""
        return self._process.pid if self._process else None

    # -- what the worker tells ----------------------------------------------------------------------------------

    def settle(self, settlement: Settlement) -> None:
        """Has a claim ended; from any thread; never waits."""
        with self._lock:
            self._number += 1
            words = {"settle": [self._number, *settlement]}
            self._unconfirmed[self._number] = words
            self._send(words)

    def settle_lost(self, settlement: Settlement, delivery: dict[str, Any], how: str) -> None:
        """Has a claim ended whose process died, once the ledger knows of the lost attempt."""
        with self._lock:
            self._number += 1
            words = {"lose": [self._number, *settlement], "delivery": delivery, "how": how}
            self._unconfirmed[self._number] = words
            self._send(words)

    def block(self, delivery: dict[str, Any]) -> None:
        """Has the ledger note that a job was put aside."""
        with self._lock:
            self._send({"block": delivery})

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
        """Tells what holds from now on, also for a keeper that comes later: ``workers``, ``queues``."""
        with self._lock:
            self._facts.update(facts)
            if self._process is not None:
                self._send(facts)

    def _send(self, message: dict[str, Any]) -> None:
        self._unsent += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        if self.flushes_itself:
            self.flush()

    def flush(self) -> None:
        """Writes what the socket takes; a keeper that is busy with a slow Redis gets the rest later."""
        if not self._unsent or self._socket is None or self._owner != os.getpid():
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
        for number, answer in news.get("settled", ()):
            with self._lock:
                words = self._unconfirmed.pop(number, None)
            if words and answer == REFUSED:
                _, _, on, token, verb, *_ = words.get("settle") or words["lose"]
                logger.warning("%s of claim %s on %s was refused: it is not ours any more", verb, token, on)
        if news.keys() - {"settled"}:
            self._on_news(news)

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._unread.clear()
