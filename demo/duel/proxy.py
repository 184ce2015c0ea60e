"""A TCP proxy that forwards until it is told to cut every connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self

CHUNK = 1 << 16


class Proxy:
    """Forwards from a port of its own to ``upstream``. Its methods may be called from any thread."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def cut(self) -> int:
        """Resets every connection that is open now, at both ends, and says how many; new ones are served."""
        return int(self._run(self._cut()))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _cut(self) -> int:
        ends = list(self._open)
        for writer in ends:
            writer.transport.abort()
        return len(ends) // 2

    async def _stop(self) -> None:
        self._server.close()
        await self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            client.transport.abort()
            return
        self._open |= {client, server}
        for source, target in ((reader, server), (answers, client)):
            task = asyncio.ensure_future(self._forward(source, target, {client, server}))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, ends: set[asyncio.StreamWriter]
    ) -> None:
        try:
            while data := await source.read(CHUNK):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            for writer in ends:
                writer.transport.abort()
            self._open -= ends
