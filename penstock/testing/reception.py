"""How the worker in the process of the tests receives a message: claims by the test's clock, and Celery's machinery."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

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
from penstock.testing.attempts import Attempt

if TYPE_CHECKING:
    from penstock.testing.bench import Bench

HOST = "pytest"


class BenchClaims(Claims):
    """Claims that go by the test's clock."""

    def __init__(self, ahead: Callable[[], float], **fields: Any) -> None:
        super().__init__(**fields)
        self.ahead = ahead
        self.at_once: set[str] = set()
        """Jobs that run now whenever they are due."""

    def server_ms(self) -> int:
        """See :meth:`Claims.server_ms`; moved as far as the test's clock."""
        return super().server_ms() + int(self.ahead() * 1000)

    def prepare(self, message: Claimed, payload: dict[str, Any]) -> bool:
        """See :meth:`Claims.prepare`."""
        if payload["headers"].get("id") in self.at_once:
            payload["headers"]["eta"] = None
        return super().prepare(message, payload)


class BenchReception(Reception):
    """Celery's machinery for one message."""

    def __init__(self, bench: Bench, claims: Claims, revocations: Revocations) -> None:
        super().__init__(
            bench.app,
            HOST,
            pool=BenchPool(bench),  # type: ignore[arg-type]
            claims=claims,
            handing=bench,  # type: ignore[arg-type]
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

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

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
        bench = self._bench
        attempt = Attempt(id=id, task=name, number=(request.get("retries") or 0) + 1)
        bench.attempts.append(attempt)
        accept_callback(os.getpid(), time.monotonic())
        error: ExceptionInfo | None = None
        told: Any = None
        with collecting.collecting(id) as collection:
            collection.is_on_the_books = isinstance(bench.app.tasks[name].backend, LedgerBackend)
            collection.started = time.time()
            try:
                with denied_join_result():
                    told = target(*args, app=bench.app)
            except (Exception, SystemExit) as raised:
                error = ExceptionInfo()
                attempt.error = raised
        records = collection.complete()
        bench.write(records)
        bench.note(attempt, records)
        if error is not None:
            attempt.state = State.FAILED
            error_callback(error)
        else:
            callback(told)
