"""Loops under watch, and servers that make their callers wait."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

BEAT_SECONDS = 0.005


@dataclass
class Heart:
    """What a loop has felt."""

    longest: float = 0.0
    """Seconds of its longest stall."""
    busiest: float = 0.0
    """Seconds of processor time that the loop's own thread took for one turn: whatever else the machine does."""


@asynccontextmanager
async def heartbeat() -> AsyncIterator[Heart]:
    """Measures how the loop stalls inside of the block."""
    heart = Heart()

    async def beat() -> None:
        at, used = time.monotonic(), time.thread_time()
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now, used_now = time.monotonic(), time.thread_time()
            heart.longest = max(heart.longest, now - at - BEAT_SECONDS)
            heart.busiest = max(heart.busiest, used_now - used)
            at, used = now, used_now

    beating = asyncio.create_task(beat())
    try:
        yield heart
    finally:
        beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beating


@contextmanager
def mute_server() -> Iterator[int]:
    """Port of a server to which connections are made, and which never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        yield int(listening.getsockname()[1])
