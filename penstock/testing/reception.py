"""How the worker in the process of the tests receives a message: claims by the test's clock, and Celery's machinery."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from billiard.einfo import ExceptionInfo
from celery.result import denied_join_result

from penstock.broker.claims import Claims
from penstock.broker.scripts import Claimed
from penstock.engine.revoking import Revocations
from penstock.engine.running.rates import Rates
from penstock.engine.running.reception import Reception
from penstock.job import State
from penstock.ledger import collecting
from penstock.ledger.backend import LedgerBackend
from penstock.testing.noting import Notes
from penstock.testing.recording import Recording

HOST = "pytest"


class BenchClaims(Claims):
    """Claims that go by the test's clock."""

    def __init__(self, ahead: Callable[[], float], **fields: Any) -> None:
        super().__init__(**fields)
        self.ahead = ahead
        self.at_once = ""
        """A job that runs now whenever it is due."""

    def server_ms(self) -> int:
        """See :meth:`Claims.server_ms`; moved as far as the test's clock."""
        return super().server_ms() + int(self.ahead() * 1000)

    def prepare(self, message: Claimed, payload: dict[str, Any]) -> bool:
        """See :meth:`Claims.prepare`."""
        if self.at_once and payload["headers"].get("id") == self.at_once:
            payload["headers"]["eta"] = None
        return super().prepare(message, payload)


class BenchReception(Reception):
    """Celery's machinery for one message."""

    def __init__(
        self, app: Any, claims: Claims, recording: Recording, notes: Notes, *, revocations: Revocations
    ) -> None:
        super().__init__(
            app,
            HOST,
            pool=BenchPool(app, recording, notes),  # type: ignore[arg-type]
            claims=claims,
            handing=recording,  # type: ignore[arg-type]
            announcer=Silence(),  # type: ignore[arg-type]
            rates=Rates(()),
            revocations=revocations,
            settle_now=bool,
            disable_rate_limits=True,
        )

    def acknowledge(self, token: str) -> None:
        """Celery is done with a message."""
        self.claims.acknowledge(token)


class Silence:
    """In place of Celery's event dispatcher."""

    enabled = False

    def send(self, type: str, **fields: Any) -> None:
        """Nobody listens."""

    def flush(self) -> None:
        """Nothing is kept."""


class BenchPool:
    """A pool for requests that runs what it is given at once, and has its end committed before Celery settles it."""

    is_green = False
    done = 0

    def __init__(self, app: Any, recording: Recording, notes: Notes) -> None:
        self._app = app
        self._recording = recording
        self._notes = notes

    def apply_async(
        self,
        target: Callable[..., Any],
        args: Any = (),
        kwargs: Any = None,
        *,
        callback: Callable[..., Any],
        error_callback: Callable[..., Any],
        accept_callback: Callable[[int, float], Any],
        **_: Any,
    ) -> None:
        """Runs one of Celery's tracers."""
        name, id, request, *_rest = args
        attempt = self._notes.begin(id, name, (request.get("retries") or 0) + 1)
        accept_callback(os.getpid(), time.monotonic())
        error: ExceptionInfo | None = None
        told: Any = None
        with collecting.collecting(id) as collection:
            collection.is_on_the_books = isinstance(self._app.tasks[name].backend, LedgerBackend)
            collection.started = time.time()
            try:
                with denied_join_result():
                    told = target(*args, app=self._app)
            except (Exception, SystemExit) as raised:
                error = ExceptionInfo()
                attempt.error = raised
        records = collection.complete()
        self._recording.write(records)
        self._notes.take(attempt, records)
        if error is not None:
            attempt.state = State.FAILED
            error_callback(error)
        else:
            callback(told)
