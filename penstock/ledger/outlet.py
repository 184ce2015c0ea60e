"""Where this process hands records that somebody else writes: a worker's keeper, which has the one SQL connection."""

from __future__ import annotations

from typing import Protocol

from penstock.ledger.records import Record


class Outlet(Protocol):
    """The way to a keeper; see ``penstock.engine.link``."""

    @property
    def is_open(self) -> bool:
        """Whether records can be handed over here: in the worker's own process, but in none that it forked."""

    def record(self, record: Record) -> None:
        """Has a record written; from any thread; never waits. It is kept until it is written."""

    def note(self, record: Record) -> None:
        """Has it known that a job runs; a keeper that dies may forget it."""

    def report(self, record: Record) -> None:
        """Has it known what a running job says of itself; also from processes that the worker has forked."""


_outlet: Outlet | None = None


def set_outlet(outlet: Outlet | None) -> None:
    """Hands records to ``outlet`` from now on, in this process and those that it forks."""
    global _outlet
    _outlet = outlet


def outlet() -> Outlet | None:
    """The outlet of this worker; None where there is no keeper."""
    return _outlet
