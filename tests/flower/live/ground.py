"""A whole deployment for Flower's pages: a broker, a ledger, workers, beats, Flower, and a browser that looks at it."""

from __future__ import annotations

import itertools
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib import error, parse, request

from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.rows import AuditRow, JobRow
from penstock.ledger.session import reading
from tests.conftest import deployment
from tests.live import ROOT, Worker, wait_for
from tests.scheduler.live.beats import Beat

APP = "tests.flower.live.app"
PASSWORD = "a-password"
USERS = {"vera": "viewer", "otto": "operator", "ada": "admin"}
"""Who may come in, and as what."""
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Reply:
    """What Flower has answered."""

    status: int
    text: str
    headers: Any
    url: str


class Visitor:
    """Somebody who speaks HTTP to Flower, with cookies, and follows redirections.

    Args:
        base: Flower's address.
        user: who it is; None: somebody without a password.
    """

    def __init__(self, base: str, user: str | None, password: str = PASSWORD) -> None:
        self._base = base
        self._cookies = CookieJar()
        self._opener = request.build_opener(request.HTTPCookieProcessor(self._cookies))
        if user is not None:
            import base64

            credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._opener.addheaders = [("Authorization", f"Basic {credentials}")]

    def get(self, path: str, **headers: str) -> Reply:
        """Asks for a page."""
        return self._send(request.Request(self._base + path, headers=headers))  # noqa: S310

    def post(self, path: str, fields: dict[str, Any], *, has_token: bool = True, **headers: str) -> Reply:
        """Sends a form, with the token that a page has given out unless it is left away."""
        if has_token:
            fields = fields | {"_xsrf": self.token()}
        data = parse.urlencode(fields, doseq=True).encode()
        return self._send(request.Request(self._base + path, data=data, headers=headers))  # noqa: S310

    def token(self) -> str:
        """Of this visitor's forms."""
        if not (found := self._token()):
            self.get("/history")
            found = self._token()
        return found

    def _token(self) -> str:
        return next((cookie.value or "" for cookie in self._cookies if cookie.name == "_xsrf"), "")

    def _send(self, asked: request.Request) -> Reply:
        try:
            with self._opener.open(asked, timeout=30) as answer:
                return Reply(answer.status, answer.read().decode(), answer.headers, answer.url)
        except error.HTTPError as refusal:
            return Reply(refusal.code, refusal.read().decode(), refusal.headers, refusal.url)


class Flower:
    """`celery -A APP flower` with this deployment's ``flowerconfig.py``; up when made."""

    def __init__(
        self, environment: dict[str, str], log: Path, *options: str, app: str = APP, folder: Path = ROOT
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", app, "flower", *options],
                env=environment | {"FLOWER_PORT": str(port)},
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_for(lambda: self._is_up() or self.process.poll() is not None, "Flower is up", PATIENCE_SECONDS)
        assert self.process.poll() is None, self.log

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def visitor(self, user: str | None = "otto", password: str = PASSWORD) -> Visitor:
        """Somebody who comes in."""
        return Visitor(self.url, user, password)

    def stop(self, kind: signal.Signals = signal.SIGTERM) -> None:
        """Ends it."""
        if self.process.poll() is None:
            self.process.send_signal(kind)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _is_up(self) -> bool:
        try:
            return Visitor(self.url, None).get("/healthcheck").status == 200
        except OSError:
            return False


@dataclass
class Ground:
    """Short ways to bring about what pages show."""

    folder: Path
    broker_url: str
    database_url: str
    variables: dict[str, str] = field(default_factory=dict)
    """Further ones of all processes."""
    app: str = APP

    def __post_init__(self) -> None:
        self._numbers = itertools.count()
        self.gate = self.folder / "gate"
        """A job of ``tests.flower.live.app.wait_at_gate`` runs until there is this file."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a process here."""
        access = {
            "FLOWER_BASIC_AUTH": ",".join(f"{user}:{PASSWORD}" for user in USERS),
            "FLOWER_ROLES": ",".join(f"{user}={role}" for user, role in USERS.items()),
            "FLOWER_TESTS_GATE": str(self.gate),
        }
        return deployment(self.broker_url, self.database_url, self.folder) | access | self.variables

    def row_of(self, job: str) -> JobRow | None:
        """What the ledger knows of a job."""
        with reading(self.database_url) as connection:
            return queries.find_job(connection, job)

    def audit_of(self, job: str) -> list[AuditRow]:
        """What people did to a job, oldest first."""
        with reading(self.database_url) as connection:
            return queries.audit_of(connection, job)

    def await_end(self, job: str, state: State) -> JobRow:
        """Waits until a job has ended, which it has to do in this state; its row."""

        def look() -> JobRow | None:
            row = self.row_of(job)
            return row if row and row.state.is_final else None

        row = wait_for(look, f"{job} has ended")
        assert row.state is state
        return row

    def worker(self, *options: str, children: int = 2) -> Worker:
        """A worker that is still to be entered."""
        log = self.folder / f"worker{next(self._numbers)}.log"
        return Worker(self.environment, log, "--without-mingle", *options, app=self.app, children=children)

    def beat(self) -> Beat:
        """A beat that is still to be entered."""
        return Beat(self.environment, self.folder / f"beat{next(self._numbers)}.log", app=self.app)

    @contextmanager
    def flower(self, *options: str, **variables: str) -> Iterator[Flower]:
        """Flower, up."""
        log = self.folder / f"flower{next(self._numbers)}.log"
        running = Flower(self.environment | variables, log, *options, app=self.app)
        try:
            yield running
        finally:
            running.stop()


def text_of(html: str) -> str:
    """What a reader sees of a page, about."""
    import html as entities

    return " ".join(entities.unescape(re.sub(r"<[^>]+>", " ", html)).split())
