"""What belongs to the one job that runs here at this moment: where it is shown, and what it has told so far."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from penstock.engine.place import Place

if TYPE_CHECKING:
    from penstock.engine.running.opening import Job


class Desk:
    """Of one job; or of one after the other, where no two run at once."""

    __slots__ = ("events", "is_early", "job", "lines", "place", "started", "token")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.job: Job | None = None
        self.token = ""
        """Of the claim that events are about."""
        self.is_early = False
        """Whether what is acknowledged now has not begun: it must be gone from Redis before it does."""
        self.events: list[Any] = []
        self.lines: list[Any] = []
        self.started: list[str] = []


class Desks(Protocol):
    """Where the desk is found."""

    @property
    def current(self) -> Desk:
        """Of the job that runs here."""


class OneDesk:
    """For a child that runs one job at a time."""

    def __init__(self, place: Place) -> None:
        self.current = Desk(place)


class ManyDesks:
    """For one that runs many: each in a context of its own. What is done outside of all jobs has a desk as well."""

    def __init__(self, place: Place) -> None:
        self._outside = Desk(place)
        self._current: ContextVar[Desk] = ContextVar("penstock_desk", default=self._outside)

    @property
    def current(self) -> Desk:
        """Of the job in whose context this is called."""
        return self._current.get()

    def sit_down(self, desk: Desk) -> None:
        """Has the context that this is called in belong to the job of this desk."""
        self._current.set(desk)
