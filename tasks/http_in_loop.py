"""HTTP by the egress rule for coroutines: to an address that was checked, as in ``tasks.http``, without blocking.

urllib3 cannot await. A GET is small enough for asyncio's own streams: one connection for each, which the server closes;
the answer is read by the standard library's parser. Names are looked up in threads, as asyncio does it itself.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import ssl
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from tasks.egress import EgressRefused, Network, Target, Unreachable, resolve
from tasks.http import (
    BODY_SECONDS,
    CONNECT_SECONDS,
    MAX_BODY_BYTES,
    MAX_REDIRECTS,
    TRIED_ADDRESSES,
    USER_AGENT,
    Answer,
)

MAX_HEAD_BYTES = 64 * 1024


async def fetch(url: str, allow: Sequence[Network] = ()) -> Answer:
    """GETs ``url`` and follows up to ``MAX_REDIRECTS`` redirects, each of them checked like the first URL.

    Raises:
        EgressRefused: a URL on the way may not be requested, or there are too many of them.
        Unreachable: a server did not answer in time, or not by HTTP.
    """
    started = time.monotonic()
    for _ in range(MAX_REDIRECTS + 1):
        target = await asyncio.to_thread(resolve, url, allow)
        answer = await _get(target)
        following = answer.redirects_to
        if following is None:
            return replace(answer, elapsed=time.monotonic() - started)
        url = following
    raise EgressRefused(f"more than {MAX_REDIRECTS} redirects; the last one leads to {url}")


async def _get(target: Target) -> Answer:
    started = time.monotonic()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            reader, writer = await _connect(target)
            try:
                writer.write(_request(target))
                await writer.drain()
                raw = await _read(reader)
            finally:
                # Whoever waits for a clean end of TLS would wait for a server that may never send it.
                writer.transport.abort()
        response, body = _parsed(raw)
    except TimeoutError:
        raise Unreachable(f"{target.url}: no whole answer within {BODY_SECONDS:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{target.url}: {error or type(error).__name__}") from error
    is_cut = len(body) > MAX_BODY_BYTES
    return Answer(
        target.url, response.status, response.headers, body[:MAX_BODY_BYTES], is_cut, time.monotonic() - started
    )


async def _connect(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the first address that takes a connection; the name is what TLS asks for and verifies."""
    tls, name = (_context(), target.host) if target.scheme == "https" else (None, None)
    addresses = target.addresses[:TRIED_ADDRESSES]
    for address in addresses:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.open_connection(address, target.port, ssl=tls, server_hostname=name)
        except (OSError, TimeoutError) as error:
            if address == addresses[-1]:
                why = str(error) or f"no connection within {CONNECT_SECONDS:g} s"
                raise Unreachable(f"{target.url}: {why}") from error
    raise AssertionError("resolve() leaves at least one address")


def _request(target: Target) -> bytes:
    headers = {"Host": target.authority, "User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Connection": "close"}
    lines = [f"GET {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


async def _read(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server closes, or more than anybody wants to read."""
    content = bytearray()
    while len(content) <= MAX_HEAD_BYTES + 2 * MAX_BODY_BYTES:
        piece = await reader.read(64 * 1024)
        if not piece:
            break
        content += piece
    return bytes(content)


def _parsed(raw: bytes) -> tuple[Any, bytes]:
    """Status and headers, and the body, at most a byte more than is kept."""
    response = http.client.HTTPResponse(_Received(raw), method="GET")  # type: ignore[arg-type]
    response.begin()
    body = response.read(MAX_BODY_BYTES + 1)
    if len(body) <= MAX_BODY_BYTES and response.length:
        raise http.client.IncompleteRead(body, response.length)
    return response, body


class _Received:
    """What was read, in the form of the socket that the parser asks for."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, _mode: str) -> io.BytesIO:
        """The whole of it."""
        return io.BytesIO(self._raw)


@cache
def _context() -> ssl.SSLContext:
    # One for all: loading the authorities takes longer than a request.
    return ssl.create_default_context()
