"""A small web site on loopback whose answers tests program, over HTTP or TLS."""

import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Reply:
    """What the site answers."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"fine"
    send: Callable[[BaseHTTPRequestHandler], None] | None = None
    """Writes to the connection itself instead."""
    meet: threading.Barrier | None = None
    """Where it waits before it answers."""


@dataclass
class Request:
    """What the site was asked."""

    method: str
    path: str
    headers: Message
    body: bytes
    client_port: int


class Site:
    """Answers from ``replies`` in turn, or by path, and keeps what it was asked."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None) -> None:
        self.replies: list[Reply] = []
        self.by_path: dict[str, Reply] = {}
        self.requests: list[Request] = []
        self._server = ThreadingHTTPServer((address, port), self._handler())
        self._scheme = "https" if context else "http"
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self.address, self.port = self._server.server_address[:2]

    def url(self, path: str = "/", host: str | None = None) -> str:
        return f"{self._scheme}://{host or self.address}:{self.port}{path}"

    @contextmanager
    def running(self) -> Iterator["Site"]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def _reply(self, path: str) -> Reply:
        if path in self.by_path:
            return self.by_path[path]
        return self.replies.pop(0) if self.replies else Reply()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                site.requests.append(Request(self.command, self.path, self.headers, body, self.client_address[1]))
                reply = site._reply(self.path)
                if reply.meet:
                    reply.meet.wait(20)
                if reply.send:
                    self.close_connection = True
                    with suppress(ConnectionError):
                        reply.send(self)
                    return
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_POST = answer

            def log_message(self, *args: object) -> None:
                pass

        return Handler


def make_certificate(folder: Path, host: str) -> ssl.SSLContext:
    """A server's context with a certificate for ``host`` alone; clients must trust ``folder/cert.pem``."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", f"/CN={host}"]
    command += ["-addext", f"subjectAltName=DNS:{host}"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
