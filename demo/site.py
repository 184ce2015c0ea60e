"""A small site on loopback: pages, some of them slow or refused at first, and a receiver of webhooks that fails too."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from demo.accounts import Accounts, Effected
from demo.plan import Effect

FAILS_FIRST, ASKS_FOR_PATIENCE = 5, 7
"""Every so-manieth webhook is answered with 503, or with 429 and Retry-After, when it comes for the first time."""
SLOW_SECONDS = 0.5
"""That a slow page takes."""


class Site(ThreadingHTTPServer):
    """Answers, and appends what it answered to the accounts."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, accounts: Accounts, secret: str) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.accounts = accounts
        self.webhook = Webhook(secret)
        self._deliveries: Counter[str] = Counter()
        self._visits: Counter[str] = Counter()
        self._slow = self.most_at_once = 0
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"

    def answer_page(self, path: str) -> int:
        """The status for a page, after the time that it takes."""
        if path.startswith("/missing"):
            return 404
        if path.startswith("/slow"):
            self._take_time()
        with self._lock:
            self._visits[path] += 1
            return 503 if path.startswith("/shaky") and self._visits[path] == 1 else 200

    def _take_time(self) -> None:
        """Notes how many slow pages are under way at once, at most."""
        with self._lock:
            self._slow += 1
            self.most_at_once = max(self.most_at_once, self._slow)
        time.sleep(SLOW_SECONDS)
        with self._lock:
            self._slow -= 1

    def answer_hook(self, id: str) -> int:
        """The status for a webhook: some are refused when they come for the first time."""
        with self._lock:
            self._deliveries[id] += 1
            order = len(self._deliveries)
            if self._deliveries[id] > 1:
                return 204
        if order % FAILS_FIRST == 0:
            return 503
        return 429 if order % ASKS_FOR_PATIENCE == 0 else 204


class _Request(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        status = self.server.answer_page(self.path)
        self._finish(status, Effected(Effect.PAGE, self.path, status == 200))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        id = self.headers.get("webhook-id", "")
        status = self._verified(body) or (410 if self.path == "/gone" else self.server.answer_hook(id))
        self._finish(status, Effected(Effect.HOOK, id, status == 204))

    def _verified(self, body: bytes) -> int | None:
        """401 for a webhook whose signature is wrong."""
        try:
            self.server.webhook.verify(body.decode(), dict(self.headers))
        except WebhookVerificationError:
            return 401
        return None

    def _finish(self, status: int, effect: Effected) -> None:
        # Noted before the answer: the job may end, and be reconciled, as soon as the answer is out.
        self.server.accounts.note(effect)
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """The accounts are the log."""


@contextmanager
def running_site(accounts: Accounts, secret: str) -> Iterator[Site]:
    """The site, while the block runs."""
    site = Site(accounts, secret)
    thread = threading.Thread(target=site.serve_forever, name="site", daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.shutdown()
        site.server_close()
        thread.join()
