"""A way to Redis on which a publication stops: before it arrives there, or before its answer comes back."""

from __future__ import annotations

import socket
import threading
from typing import Self
from urllib.parse import urlsplit


class HoldingProxy:
    """Listens on loopback and passes everything on, until a request contains the marker."""

    def __init__(self, broker_url: str, marker: bytes, *, arrives: bool) -> None:
        """Args:
        arrives: whether the request with the marker gets through; its answer does not come back in either case.
        """
        self._target = urlsplit(broker_url)
        self._marker = marker
        self._arrives = arrives
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self.was_reached = threading.Event()
        """The marker has come by."""

    @property
    def url(self) -> str:
        """Address for whoever is to be held up."""
        user, at, _ = self._target.netloc.rpartition("@")
        return f"redis://{user}{at}127.0.0.1:{self._listener.getsockname()[1]}{self._target.path}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection((self._target.hostname, self._target.port))
            self._sockets += [near, far]
            threading.Thread(target=self._pass_requests, args=(near, far), daemon=True).start()
            threading.Thread(target=self._pass_answers, args=(far, near), daemon=True).start()

    def _pass_requests(self, near: socket.socket, far: socket.socket) -> None:
        while chunk := _received(near):
            if self._marker in chunk:
                self.was_reached.set()
            if self._arrives or not self.was_reached.is_set():
                far.sendall(chunk)

    def _pass_answers(self, far: socket.socket, near: socket.socket) -> None:
        while chunk := _received(far):
            if not self.was_reached.is_set():
                near.sendall(chunk)


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""
