"""What a Sentry server sees: an HTTP server on loopback that keeps the envelopes which SDKs send to it."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Collector:
    """Takes envelopes of any number of processes; ``dsn`` is where to send them."""

    def __init__(self) -> None:
        self._items: list[tuple[str, Any]] = []
        keep = self._items.extend

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                keep(_items(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def dsn(self) -> str:
        """For ``sentry_sdk.init``."""
        return f"http://key@127.0.0.1:{self._server.server_port}/1"

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The events, in order of arrival."""
        return [payload for kind, payload in self._items if kind == "event"]

    @property
    def transactions(self) -> list[dict[str, Any]]:
        """The transactions, in order of arrival."""
        return [payload for kind, payload in self._items if kind == "transaction"]


def _items(envelope: bytes) -> Iterator[tuple[str, Any]]:
    """Kind and payload of each item; a header of JSON stands in the line before each."""
    _, _, rest = envelope.partition(b"\n")
    while rest.strip():
        header, _, rest = rest.partition(b"\n")
        described = json.loads(header)
        length = described.get("length", rest.find(b"\n") if b"\n" in rest else len(rest))
        payload, rest = rest[:length], rest[length:].removeprefix(b"\n")
        if described["type"] in ("event", "transaction"):
            yield described["type"], json.loads(payload)
