"""The worker's line to a keeper that the zygote has forked, and replaces: the words are those of ``KeeperLink``."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

from penstock.engine.link import KeeperLink
from penstock.engine.wire import Address, frame

logger = logging.getLogger(__name__)
READ_BYTES = 1 << 12


class PoolLink(KeeperLink):
    """Calls the keeper that is there, and the next one when that has died. Constructing does nothing."""

    def __init__(
        self, config: dict[str, Any], on_news: Callable[[dict[str, Any]], None], address: Callable[[], Address]
    ) -> None:
        """Args:
        address: where the keeper is called, once the pool has started.
        """
        super().__init__(config, on_news)
        self._address = address
        self._is_started = False

    @property
    def is_open(self) -> bool:
        """Whether this process is the worker, and has a keeper."""
        return self._is_started and self._is_owner

    def start(self) -> None:
        """Calls the keeper."""
        self._is_started = True
        with self._lock:
            self._call()

    def _call(self) -> None:
        try:
            self._socket = self._address().call()
        except OSError:
            return  # There is none at the moment; the next watch is soon.
        self._listen()
        self._unsent.clear()
        self._unsent += frame({"worker": self._config})
        self._socket.setblocking(False)
        if self._facts:
            self._send(self._facts)
        for line in self._unconfirmed.values():
            self._unsent += line
        self.flush()

    def watch(self) -> None:
        """Hears the keeper, sends what its socket had no room for, and calls the next one if it died. Call it often."""
        self._hear()
        with self._lock:
            if self._socket is not None and self._is_gone(self._socket):
                self._close_socket()
            if self._socket is None and self._is_started:
                self._call()
            self.flush()

    @staticmethod
    def _is_gone(line: socket.socket) -> bool:
        with contextlib.suppress(BlockingIOError):
            try:
                return not line.recv(1, socket.MSG_PEEK)
            except ConnectionError:
                return True
        return False

    def stop(self) -> None:
        """Has the keeper put in order what there is, give back what the worker still holds, and end."""
        with self._lock:
            if not self._is_started:
                return
            self._is_started = False
            if self._socket is None:
                return
            self._send({"bye": True})
            self._socket.setblocking(True)
            self._socket.settimeout(self.stop_seconds)
            with contextlib.suppress(OSError):
                self._socket.sendall(self._unsent)
                self._unsent.clear()
                while self._socket.recv(READ_BYTES):
                    pass
        self._close_socket()

    def tell(self, **facts: Any) -> None:
        """Tells what holds from now on, also for a keeper that comes later."""
        with self._lock:
            self._facts.update(facts)
            if self._socket is not None:
                self._send(facts)

    def say(self, **words: Any) -> None:
        """Tells something once."""
        with self._lock:
            if self._socket is not None:
                self._send(words)
