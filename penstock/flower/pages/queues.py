"""All queues: what waits, since when it is late, how fast it goes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from penstock.errors import PenstockError
from penstock.flower.charts import sparkline
from penstock.flower.page import Deed, Page
from penstock.flower.roles import Role
from penstock.operations.history import LATE_SECONDS
from penstock.operations.overview import overview
from penstock.operations.queues import pause, resume
from penstock.wording import counted, distance

RELOAD_SECONDS = 10


class NoQueue(PenstockError):
    """A form names no queue."""


class PausingPage(Page):
    """A page on which queues are paused and resumed."""

    @property
    def queue(self) -> str:
        """The queue that the form names."""
        if not (name := self.text("queue")):
            raise NoQueue("no queue is named; use the button beside one")
        return name

    def pause(self) -> str:
        """Closes a queue; what runs goes on."""
        done = pause(self.app, self.queue, self.text("note").strip(), actor=self.actor)
        before = (
            f" (it was already, {distance(done.before.at, datetime.now(UTC))} by {done.before.by})"
            if done.before
            else ""
        )
        running = f"; {counted(done.status.in_flight, 'job')} in flight go on" if done.status.in_flight else ""
        return f"{done.status.queue} is paused{before}{running}"

    def resume(self) -> str:
        """Opens a queue."""
        done = resume(self.app, self.queue, actor=self.actor)
        open_ = "is open again" if done.was_paused else "was open"
        return f"{done.status.queue} {open_}; {counted(done.status.ready, 'job')} wait"

    deeds: ClassVar = {"pause": Deed(Role.OPERATOR, pause), "resume": Deed(Role.OPERATOR, resume)}


class QueuesPage(PausingPage):
    """A line for each queue, the late ones first."""

    template = "queues.html"
    tab = "queues"
    label = "Queues"

    def read(self) -> dict[str, Any]:
        """Redis and two statements, whatever the number of queues."""
        views = overview(self.app)
        return {
            "views": views,
            "ready": sum(view.status.ready for view in views),
            "in_flight": sum(view.status.in_flight for view in views),
            "late": sum(view.late is not None for view in views),
            "paused": sum(view.status.pause is not None for view in views),
            "late_seconds": LATE_SECONDS,
            "sparkline": sparkline,
            "counted": counted,
            "here": self.back,
            "reload_seconds": RELOAD_SECONDS,
        }
