"""HTTP by the egress rule: each request goes to an address that was checked, over this process's pool.

urllib3 is imported when the pool opens, so that a producer that imports the task modules does not load it.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from tasks.egress import EgressRefused, Network, Target, Unreachable, resolve

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

USER_AGENT = "Penstock/0.1"
CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
BODY_SECONDS = 30.0
MAX_BODY_BYTES = 1024 * 1024
MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
TRIED_ADDRESSES = 3
HOSTS_KEPT_OPEN = 32
_POOL_NAME = re.compile(r"^HTTPS?Connection(Pool)?\([^)]*\): ")


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    url: str
    status: int
    headers: Mapping[str, str]
    """Looked up without regard to case."""
    body: bytes
    """At most ``MAX_BODY_BYTES``, as sent: not decompressed."""
    is_cut: bool
    """Whether the body went on."""
    elapsed: float
    """Seconds from looking the name up to the end of the body."""

    @property
    def redirects_to(self) -> str | None:
        """The absolute URL to which the server points, if it redirects."""
        location = self.headers.get("Location")
        if self.status not in REDIRECTS or not location:
            return None
        try:
            return urljoin(self.url, location)
        except ValueError:
            return location  # Not a URL at all; the egress rule says so.


def fetch(url: str, allow: Sequence[Network] = ()) -> Answer:
    """GETs ``url`` and follows up to ``MAX_REDIRECTS`` redirects, each of them checked like the first URL.

    Raises:
        EgressRefused: a URL on the way may not be requested, or there are too many of them.
        Unreachable: a server did not answer in time.
    """
    started = time.monotonic()
    for _ in range(MAX_REDIRECTS + 1):
        answer = request("GET", url, allow=allow)
        following = answer.redirects_to
        if following is None:
            return replace(answer, elapsed=time.monotonic() - started)
        url = following
    raise EgressRefused(f"more than {MAX_REDIRECTS} redirects; the last one leads to {url}")


def request(
    method: str,
    url: str,
    *,
    allow: Sequence[Network] = (),
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Answer:
    """One request, one answer; no redirect is followed and nothing is repeated.

    Raises:
        EgressRefused: the URL may not be requested; nothing was sent.
        Unreachable: no connection, or no whole answer in time.
    """
    from urllib3.exceptions import HTTPError

    started = time.monotonic()
    target = resolve(url, allow)
    try:
        response = _send(method, target, headers or {}, body)
        try:
            content, is_cut = _read(response, started + BODY_SECONDS)
        finally:
            # After a whole body the connection is back in the pool already, and this does not touch it.
            response.close()
    except (HTTPError, OSError) as error:
        raise Unreachable(f"{target.url}: {_sentence(error)}") from error
    return Answer(target.url, response.status, response.headers, content, is_cut, time.monotonic() - started)


def open_pool() -> PoolManager:
    """This process's pool; opened at first use. Connects to nothing yet."""
    global _pool
    with _lock:
        if _pool is None:
            import urllib3
            from urllib3.util.ssl_ import create_urllib3_context

            # One context for all: loading the authorities takes longer than a request.
            context = create_urllib3_context()
            context.load_default_certs()
            timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
            _pool = urllib3.PoolManager(HOSTS_KEPT_OPEN, timeout=timeout, retries=False, ssl_context=context)
        return _pool


def close_pool() -> None:
    """Closes every idle connection of this process."""
    global _pool
    with _lock:
        if _pool is not None:
            _pool.clear()
            _pool = None


def _send(method: str, target: Target, headers: Mapping[str, str], body: bytes) -> BaseHTTPResponse:
    """To the first address that takes a connection; only a connection that never stood is tried elsewhere."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    headers = {"Host": target.authority, "User-Agent": USER_AGENT, **headers}
    addresses = target.addresses[:TRIED_ADDRESSES]
    for address in addresses:
        # The pool is that of the address; the name is what TLS asks for and verifies.
        tls = {"server_hostname": target.host} if target.scheme == "https" else {}
        pool = open_pool().connection_from_host(address, target.port, target.scheme, tls)
        try:
            return pool.urlopen(
                method,
                target.path,
                body=body or None,
                headers=headers,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except (NewConnectionError, ConnectTimeoutError):
            if address == addresses[-1]:
                raise
    raise AssertionError("resolve() leaves at least one address")


def _read(response: BaseHTTPResponse, deadline: float) -> tuple[bytes, bool]:
    """The body up to its bound, and whether it went on. A server that drips is left at the deadline."""
    content = bytearray()
    while len(content) <= MAX_BODY_BYTES:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the body took longer than {BODY_SECONDS:g} s")
        piece = response.read1(64 * 1024)
        if not piece:
            return bytes(content), False
        content += piece
    return bytes(content[:MAX_BODY_BYTES]), True


def _sentence(error: Exception) -> str:
    """urllib3's own words, without the objects that it wraps them in."""
    cause = error.args[1] if len(error.args) == 2 and isinstance(error.args[1], Exception) else error
    return _POOL_NAME.sub("", str(cause)) or type(cause).__name__


_pool: PoolManager | None = None
_lock = threading.Lock()


def _forget_pool() -> None:
    # A forked child must not use its parent's sockets. The lock is new: a thread that held it is not here.
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_pool)
