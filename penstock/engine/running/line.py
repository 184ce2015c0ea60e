"""A child's line to its keeper: what the keeper says, and a nudge for it when something was handed over.

Outcomes do not travel here; they are in the ring. So a line that breaks with its keeper has cost nothing, and the child
calls the next one.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable
from typing import Any

from penstock.engine.wire import READ_BYTES, Address, Frames, frame

NUDGE = frame("nudge")


class Line:
    """Of one child."""

    def __init__(self, address: Address, index: int, fork: int, on_news: Callable[[dict[str, Any]], None]) -> None:
        self._address = address
        self._hello = frame({"child": index, "fork": fork, "pid": os.getpid()})
        self._on_news = on_news
        self._frames = Frames()
        self._socket: socket.socket | None = None
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)

    def wake(self) -> None:
        """Ends a wait at once. For signal handlers."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, b".")

    def nudge(self) -> None:
        """Tells the keeper that something was handed over."""
        # From any thread: whoever hears finds out that the keeper is gone, and hangs up.
        if (line := self._socket) is not None:
            # If it has no room, so much is unread: the keeper is awake.
            with contextlib.suppress(OSError):
                line.send(NUDGE)

    def hear(self) -> None:
        """Takes what the keeper has said."""
        if self._socket is None and not self._call():
            return
        assert self._socket is not None
        try:
            while chunk := self._socket.recv(READ_BYTES):
                for news in self._frames.feed(chunk):
                    self._on_news(news)
        except BlockingIOError:
            return
        except OSError:
            pass
        self._hang_up()

    def wait(self, seconds: float, other: int | None = None) -> bool:
        """Waits until the keeper says something, somebody wakes this, or ``other`` can be read; whether that can."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        if self._socket is not None:
            poll.register(self._socket, select.POLLIN)
        if other is not None:
            poll.register(other, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(seconds * 1000)}
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 1 << 12)
        return other in ready

    def _call(self) -> bool:
        with contextlib.suppress(OSError):  # There is none at the moment; the next look is soon.
            self._socket = self._address.call()
            self._socket.sendall(self._hello)
            self._socket.setblocking(False)
            self._frames = Frames()
            return True
        return False

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
