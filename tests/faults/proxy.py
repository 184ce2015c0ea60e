"""A TCP proxy that does to connections what networks do: cut them, keep a reply, or forward nothing any more."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Self

CHUNK = 1 << 16
ARRAY = b"*"
"""How Redis begins what a claim of either side brings. Our keepers look at a queue as well, and get a lone message."""
COMMITTED, ROLLED_BACK = b"COMMIT\0", b"ROLLBACK\0"
"""How PostgreSQL tells that a transaction is over."""


@dataclass(eq=False)
class Link:
    """One connection of a client, and ours to the server for it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    frozen: bool = False
    drop_reply: bool = False
    hold_reply: bool = False
    names_job: bool = False
    """Whether its open SQL transaction has named the job whose COMMIT is waited for."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def cut(self) -> None:
        """Resets both ends at once: what was on its way is gone."""
        for writer in (self.client, self.server):
            writer.transport.abort()


class Proxy:
    """Forwards from a port of its own to ``port``. All methods may be called from any thread."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._links: set[Link] = set()
        self._held: bytes = b""
        self._cut_when_held = False
        self._dropped: tuple[bytes, ...] = ()
        self._committing: bytes = b""
        self._caught: list[re.Pattern[bytes]] = []
        self._forwards_caught = True
        self.port = 0
        self.holding = threading.Event()
        """Set when a command or a reply is being held."""
        self.dropped = threading.Event()
        """Set when a reply was dropped and its connection cut."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    @property
    def url(self) -> str:
        """Its address for clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> int:
        """Cuts every connection that is open now and says how many; new ones are served."""
        return self._run(self._cut())

    def freeze(self) -> int:
        """Forwards nothing any more on the connections that are open now, and says how many; new ones are served.

        To both ends this looks like a cable that was pulled: no packet, no reset.
        """
        return self._run(self._freeze())

    def retarget(self, port: int) -> None:
        """Leads new connections to another server and cuts the old ones, as a failover does."""
        self._upstream = port
        self.cut()

    def hold_reply_with(self, text: str) -> None:
        """From the first claim's reply that holds ``text`` on, its connection's client gets nothing."""
        self._held = text.encode()

    def drop_reply_to(self, *texts: str) -> None:
        """The first command that holds all ``texts`` reaches the server; its reply is lost with the connection."""
        self._dropped = tuple(text.encode() for text in texts)

    def hold_reply_to(self, *patterns: str) -> None:
        """The first command in which all ``patterns`` are found reaches the server; its connection gets no reply."""
        self._caught, self._forwards_caught = [re.compile(pattern.encode()) for pattern in patterns], True

    def hold_command(self, *patterns: str) -> None:
        """The first command in which all ``patterns`` are found does not reach the server, nor does what follows."""
        self._caught, self._forwards_caught = [re.compile(pattern.encode()) for pattern in patterns], False

    def hold_commit_of(self, job: str) -> None:
        """For PostgreSQL: the first transaction that names the job is committed, and its client never told."""
        self._committing, self._cut_when_held = job.encode(), False

    def drop_commit_of(self, job: str) -> None:
        """The same, and its connection is cut: the client has to find out whether it was committed."""
        self._committing, self._cut_when_held = job.encode(), True

    def drop_reply_with(self, text: str) -> None:
        """The first claim's reply that holds ``text`` is lost with its connection."""
        self._held, self._cut_when_held = text.encode(), True

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _cut(self) -> int:
        links = list(self._links)
        for link in links:
            link.cut()
        return len(links)

    async def _freeze(self) -> int:
        for link in self._links:
            link.frozen = True
        return len(self._links)

    async def _stop(self) -> None:
        self._server.close()
        tasks = [task for link in self._links for task in link.tasks]
        await self._cut()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, upstream = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, upstream)
        self._links.add(link)
        link.tasks = [
            asyncio.ensure_future(self._forward(link, reader, self._on_command, upstream)),
            asyncio.ensure_future(self._forward(link, answers, self._on_reply, writer)),
        ]
        await asyncio.gather(*link.tasks, return_exceptions=True)
        self._links.discard(link)

    async def _forward(
        self, link: Link, source: asyncio.StreamReader, passes: Any, target: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await source.read(CHUNK):
                if not link.frozen and passes(link, data):
                    target.write(data)
                    await target.drain()
        except OSError:
            pass
        finally:
            if not link.frozen:
                link.cut()

    def _on_command(self, link: Link, data: bytes) -> bool:
        if self._dropped and all(text in data for text in self._dropped):
            self._dropped, link.drop_reply = (), True
        if self._caught and all(pattern.search(data) for pattern in self._caught):
            self._caught = []
            if not self._forwards_caught:
                return self._keep(link)
            link.hold_reply = True
        if self._committing and self._committing in data:
            link.names_job = True
        return True

    def _on_reply(self, link: Link, data: bytes) -> bool:
        if link.drop_reply:
            link.cut()
            self.dropped.set()
            return False
        if link.hold_reply:
            return self._keep(link)
        if self._held and self._held in data and data.startswith(ARRAY):
            self._held = b""
            return self._keep(link)
        if self._committing and link.names_job and COMMITTED in data:
            self._committing = b""
            return self._keep(link)
        link.names_job = link.names_job and ROLLED_BACK not in data
        return True

    def _keep(self, link: Link) -> bool:
        if self._cut_when_held:
            link.cut()
            self.dropped.set()
        else:
            link.frozen = True
            self.holding.set()
        return False
