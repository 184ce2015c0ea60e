"""Waiting for jobs to end without asking again and again.

One connection and one thread per process and server hear of all jobs that somebody waits for here, threads and asyncio
tasks alike. Nothing is promised: Redis may be away, or whoever ended the job may have died before it could tell. What
an ear hears is only that it is time to look at the ledger, so a waiter looks by itself from time to time as well.

The order that misses nothing: have the job listened for, hear that it is (an ear is told of each job when Redis has
confirmed it, and again after each reconnection), look at the ledger, wait for the announcement.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from redis.exceptions import RedisError, TimeoutError

from penstock.broker.connection import connect, unavailable
from penstock.broker.keys import Keys

MOST_JOBS = 10_000
"""Jobs that are listened for at once; whoever waits for more is told nothing of the rest, and looks."""
SLICE = 1_000
"""Jobs of one command."""
CONNECT_SECONDS, ANSWER_SECONDS = 2.0, 3.0
SILENT_SECONDS = 20.0
"""After so long without a word, the server is asked whether it is still there."""
LINGER_SECONDS = 30.0
"""How long connection and thread stay when nobody waits."""
FIRST_PAUSE, LAST_PAUSE = 0.1, 5.0
"""Seconds before a lost connection is opened again; twice as many after each failure."""
logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Whoever waits; called by the listening thread, which it must not hold up."""

    def tell(self, ids: Iterable[str]) -> None:
        """Takes jobs at which it is time to look."""


class Ear:
    """The listener of a thread."""

    def __init__(self) -> None:
        self._news: set[str] = set()
        self._has_news = threading.Condition()

    def tell(self, ids: Iterable[str]) -> None:
        """Wakes the waiting thread."""
        with self._has_news:
            self._news.update(ids)
            self._has_news.notify()

    def wait(self, seconds: float) -> set[str]:
        """Jobs at which it is time to look, as soon as there are some; none after ``seconds``."""
        with self._has_news:
            self._has_news.wait_for(lambda: self._news, seconds)
            news, self._news = self._news, set()
        return news


class AsyncEar:
    """The listener of an asyncio task; made inside of its loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news: set[str] = set()
        self._has_news = asyncio.Event()

    def tell(self, ids: Iterable[str]) -> None:
        """Wakes the waiting task."""
        with contextlib.suppress(RuntimeError):  # Its loop is closed: nobody waits any more.
            self._loop.call_soon_threadsafe(self._take, set(ids))

    def _take(self, ids: set[str]) -> None:
        self._news |= ids
        self._has_news.set()

    async def wait(self, seconds: float) -> set[str]:
        """As :meth:`Ear.wait`."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._has_news.wait(), seconds)
        self._has_news.clear()
        news, self._news = self._news, set()
        return news


class Hearing:
    """What this process hears from one server. For all threads; a forked child begins anew."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        """Opens nothing before somebody waits.

        Args:
            url: in kombu's spelling.
            options: kombu's transport options.
        """
        self._url = url
        self._keys = Keys((options or {}).get("global_keyprefix") or "")
        self._prefix = self._keys.ended("").encode()
        self._client = connect(
            url, options, name="hearing", connect_seconds=CONNECT_SECONDS, answer_seconds=ANSWER_SECONDS, retries=0
        )
        self.forget()
        _all.add(self)

    def forget(self) -> None:
        """Begins anew in a forked child: the thread is not here, and its connection is the parent's."""
        self._lock = threading.Lock()
        self._listeners: dict[str, list[Listener]] = {}
        self._changed: set[str] = set()
        """Jobs for which somebody has begun or ceased to wait since the thread looked."""
        self._confirmed: set[str] = set()
        """Jobs for which the server has said that it will tell, and has not been told to stop."""
        self._thread: threading.Thread | None = None
        self._waker: socket.socket | None = None

    @contextmanager
    def listening(self, ids: Iterable[str], listener: Listener) -> Iterator[None]:
        """Tells ``listener`` of these jobs inside of the block: when they are listened for, and when they end."""
        ids = {id for id in ids if _is_sendable(id)}  # Any other would end the thread, for all who wait.
        try:
            self._add(ids, listener)  # Inside, because a time limit may break it off.
            yield
        finally:
            self._remove(ids, listener)

    @contextmanager
    def ear(self, ids: Iterable[str]) -> Iterator[Ear]:
        """A thread's ear for these jobs."""
        ear = Ear()
        with self.listening(ids, ear):
            yield ear

    def _add(self, ids: set[str], listener: Listener) -> None:
        with self._lock:
            for id in ids:
                self._listeners.setdefault(id, []).append(listener)
            # Those of others who wait already: no confirmation will come that this listener could be told of.
            known = ids & self._confirmed
            self._changed |= ids - known
            self._start()
            self._wake()
        if known:
            listener.tell(known)

    def _remove(self, ids: set[str], listener: Listener) -> None:
        with self._lock:
            for id in ids & self._listeners.keys():  # After a fork, or a time limit, there may be none.
                left = [each for each in self._listeners[id] if each is not listener]
                if left:
                    self._listeners[id] = left
                else:
                    del self._listeners[id]
                    self._changed.add(id)
            self._wake()

    def _start(self) -> None:
        if self._thread is None:
            self._waker, woken = socket.socketpair()
            self._waker.setblocking(False)
            self._thread = threading.Thread(target=self._run, args=(woken,), name="hearing", daemon=True)
            self._thread.start()

    def _wake(self) -> None:
        if self._waker is not None:
            with contextlib.suppress(BlockingIOError):  # So much unread: it is awake.
                self._waker.send(b".")

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self, woken: socket.socket) -> None:
        pause = FIRST_PAUSE
        while True:
            pool = self._client.connection_pool
            line = _Line(pool.connection_class(**pool.connection_kwargs), woken)
            try:
                line.open()
                with self._lock:
                    self._changed = set(self._listeners)
                pause = FIRST_PAUSE
                self._serve(line)
                return
            except (RedisError, OSError) as error:
                if pause == FIRST_PAUSE:
                    logger.warning("%s; ended jobs are looked for from time to time", unavailable(self._url, error))
            finally:
                line.close()
            with self._lock:
                self._confirmed.clear()
                if self._ends():
                    return
            time.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)

    def _serve(self, line: _Line) -> None:
        """Listens until nobody has waited for a while."""
        lonely_since: float | None = None
        while True:
            self._tell_changes(line)
            for kind, channel in line.read(LINGER_SECONDS):
                self._hear(kind, channel.removeprefix(self._prefix).decode())
            with self._lock:
                if self._listeners:
                    lonely_since = None
                    continue
                lonely_since = lonely_since or time.monotonic()
                if time.monotonic() - lonely_since >= LINGER_SECONDS and self._ends():
                    return

    def _ends(self) -> bool:
        """Whether the thread may end. The caller has the lock, so whoever comes later starts another one."""
        if not self._listeners:
            self._thread = self._waker = None
        return self._thread is None

    def _tell_changes(self, line: _Line) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
            ended = [id for id in changed if id not in self._listeners and id in line.told]
            begun = [id for id in changed if id in self._listeners and id not in line.told]
            # Before the server hears of it: a listener that comes from now on waits for a new confirmation.
            self._confirmed.difference_update(ended)
        line.tell("UNSUBSCRIBE", ended, self._keys)
        line.told.difference_update(ended)
        begun = begun[: MOST_JOBS - len(line.told)]
        line.tell("SUBSCRIBE", begun, self._keys)
        line.told.update(begun)

    def _hear(self, kind: bytes, id: str) -> None:
        with self._lock:
            listeners = self._listeners.get(id, [])
            if kind == b"subscribe" and listeners:
                self._confirmed.add(id)
        for listener in listeners:
            listener.tell((id,))


def _is_sendable(id: str) -> bool:
    """Whether a channel can have this id in its name."""
    return id.encode(errors="replace") == id.encode(errors="surrogatepass")


class _Line:
    """The connection, which only the listening thread touches: TLS allows no two."""

    def __init__(self, connection: Any, woken: socket.socket) -> None:
        """Args:
        connection: redis-py's, not open yet.
        woken: becomes readable when there is something else to do.
        """
        self.told: set[str] = set()
        """Jobs for which the server was asked."""
        self._connection = connection
        self._woken = woken
        self._selector = selectors.DefaultSelector()

    def open(self) -> None:
        """Connects."""
        self._connection.connect()
        self._selector.register(self._connection._sock, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._heard = time.monotonic()
        self._is_asked = False

    def close(self) -> None:
        """Hangs up."""
        self._selector.close()
        self._connection.disconnect()

    def tell(self, command: str, ids: list[str], keys: Keys) -> None:
        """Begins or ceases to listen for jobs."""
        for first in range(0, len(ids), SLICE):
            channels = [keys.ended(id) for id in ids[first : first + SLICE]]
            self._connection.send_command(command, *channels, check_health=False)

    def read(self, seconds: float) -> Iterator[tuple[bytes, bytes]]:
        """Waits up to ``seconds`` for something to do; kind and channel of what was heard."""
        for key, _ in self._selector.select(min(seconds, self._patience())):
            if key.fileobj is self._woken:
                self._woken.recv(1 << 12)
        while self._connection.can_read(timeout=0):
            answer = self._connection.read_response()
            self._heard, self._is_asked = time.monotonic(), False
            if isinstance(answer, list) and answer[0] in (b"subscribe", b"message"):
                yield answer[0], answer[1]

    def _patience(self) -> float:
        """Seconds until the server has to be asked, or to have answered."""
        silent = time.monotonic() - self._heard
        if self._is_asked and silent >= SILENT_SECONDS + ANSWER_SECONDS:
            raise TimeoutError("no answer")
        if not self._is_asked and silent >= SILENT_SECONDS:
            self._connection.send_command("PING", check_health=False)
            self._is_asked = True
        return max(SILENT_SECONDS + (ANSWER_SECONDS if self._is_asked else 0) - silent, 0.0)


_all: weakref.WeakSet[Hearing] = weakref.WeakSet()
_hearings: dict[tuple[Any, ...], Hearing] = {}
_lock = threading.Lock()


def hearing_of(url: str, options: Mapping[str, Any] | None = None) -> Hearing:
    """What this process hears from the server at ``url``; the same for all who name the same server.

    Args:
        options: kombu's transport options.
    """
    name = url, *((options or {}).get(option) for option in ("global_keyprefix", "master_name"))
    with _lock:
        if name not in _hearings:
            _hearings[name] = Hearing(url, options)
        return _hearings[name]


def _begin_anew() -> None:
    global _lock
    _lock = threading.Lock()
    for hearing in _all:
        hearing.forget()


os.register_at_fork(after_in_child=_begin_anew)
