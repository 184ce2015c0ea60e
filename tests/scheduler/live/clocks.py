"""Clocks that processes believe: libfaketime tells them a time that a file says, all of them the same.

The clock by which they wait, which nobody sets, stays the real one. A beat on SQLite goes by the clock of its host, so
it is given such a clock; on PostgreSQL the clock of the server counts, so the server is given one.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Self

import libfaketime
import pytest

from penstock.ledger import schema, session
from tests.faults.postgres import OURS, Postgres, make_template

LIBRARY = Path(libfaketime.__file__).parent / "vendor/libfaketime/src/libfaketime.so.1"
TICK_SECONDS = 0.02
"""Between two steps of a clock that runs fast."""


class Clock:
    """One clock, for all processes that have its variables."""

    def __init__(self, at: datetime) -> None:
        """Args:
        at: what it shows first; from then on it runs.
        """
        self._first = at

    def __enter__(self) -> Self:
        self._folder = _public_folder()
        shutil.copy(LIBRARY, self._folder / "faketime.so")
        (self._folder / "faketime.so").chmod(0o755)
        self.set(self._first)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def variables(self) -> dict[str, str]:
        """What makes a process believe it."""
        return {
            "LD_PRELOAD": str(self._folder / "faketime.so"),
            "FAKETIME_TIMESTAMP_FILE": str(self._folder / "clock"),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "TZ": "UTC",
        }

    @property
    def now(self) -> datetime:
        """What it shows."""
        return self._stands_at or datetime.now(UTC) + self._ahead

    def set(self, at: datetime) -> None:
        """Shows this now, and runs on."""
        self._stands_at: datetime | None = None
        self._ahead = at - datetime.now(UTC)
        self._say(f"{self._ahead.total_seconds():+.6f}")

    def stand(self, at: datetime) -> None:
        """Shows this until it is set again."""
        self._stands_at = at
        self._say(f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}")

    def run(self, until: datetime, speed: float) -> None:
        """Runs so many times as fast until it shows this."""
        started, at = time.monotonic(), self.now
        while self.now < until:
            time.sleep(TICK_SECONDS)
            self.set(min(at + (time.monotonic() - started) * timedelta(seconds=speed), until))

    def _say(self, words: str) -> None:
        (self._folder / "next").write_text(f"{words}\n")
        (self._folder / "next").rename(self._folder / "clock")


@cache
def _template() -> Path:
    """The data of a server with a ledger, made once in each process."""
    folder = _public_folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_template(folder)


def _public_folder() -> Path:
    """PostgreSQL refuses to run as root and then runs as a user of its own, who must be able to get there."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-live-"))
    folder.chmod(0o755)
    return folder


class OwnPostgres(Postgres):
    """A PostgreSQL of a test's own, with a ledger, which believes a clock if one is given."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(_public_folder(), _template())
        self._clock = clock

    def __exit__(self, *error: object) -> None:
        session.close_all()
        super().__exit__(*error)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def ledger(self) -> str:
        """Its address."""
        return self.url(OURS)

    def start(self) -> bool:
        """Starts; the server has no variables of its own but those that it inherits."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (self._clock.variables if self._clock else {}).items():
                patch.setenv(name, value)
            return super().start()


@contextmanager
def ledger_with_clock(kind: str, clock: Clock, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A ledger whose schedules go by this clock: its address, and the variables of its beats."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'ledger.db'}"
        schema.upgrade(url)
        yield url, clock.variables
        session.close_all()
        return
    with OwnPostgres(clock) as server:
        yield server.ledger, {}
