"""One queue: its last hour or day as charts, what comes next in it, and a pause."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from penstock.errors import PenstockError
from penstock.flower.charts import Line, line_chart
from penstock.flower.pages.queues import PausingPage
from penstock.ledger.histogram import Percentiles
from penstock.ledger.series import Series
from penstock.operations.history import look_back
from penstock.operations.overview import view_of
from penstock.operations.payload import Payload, shown_bytes
from penstock.operations.queues import look, peek
from penstock.operations.wording import call_of

WINDOWS = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last day", timedelta(days=1)),
    "48h": ("Two days", timedelta(days=2)),
}
PEEKED = 10


class BadWindow(PenstockError):
    """The address asks for a time that the page does not have."""


class QueuePage(PausingPage):
    """One queue."""

    template = "queue.html"
    tab = "queues"

    @property
    def queue(self) -> str:
        """The queue of the address."""
        return str(self.path_args[0])

    def read(self) -> dict[str, Any]:
        """Its state, its past and its next messages."""
        window = self.text("window") or next(iter(WINDOWS))
        if window not in WINDOWS:
            raise BadWindow(f"there is no window {window!r}; there are {', '.join(WINDOWS)}")
        app, name = self.app, self.queue
        (status,) = look(app, [name]).queues
        history = look_back(app, name, datetime.now(UTC) - WINDOWS[window][1])
        return {
            "view": view_of(app, status),
            "history": history,
            "charts": list(_charts(history.series, app.settings.timezone)),
            "windows": [
                (words, self.link("queue", name, window=key), key == window) for key, (words, _) in WINDOWS.items()
            ],
            "peek": peek(app, name, PEEKED),
            "call": self._call,
        }

    def _call(self, payload: Payload) -> str:
        """A message as a call, without secrets; of what is no call, its bytes."""
        body = payload.body
        if not (payload.call and isinstance(body, list)):
            return self.application.redaction.text(shown_bytes(payload.raw))
        shown = self.application.masking.call(payload.task, {"args": body[0], "kwargs": body[1]})
        return call_of(payload.task, shown["args"], shown["kwargs"])


def _charts(series: Series, zone: str) -> Iterator[tuple[str, str]]:
    """A heading and a chart each."""

    def chart(title: str, lines: dict[str, list[float | None]], unit: str = "") -> tuple[str, str]:
        return title, line_chart(title, series.at, [Line(name, values) for name, values in lines.items()], zone, unit)

    depths = {"ready": series.ready, "in flight": series.in_flight, "parked": series.parked, "blocked": series.blocked}
    yield chart("Jobs in the queue", {name: [*values] for name, values in depths.items()})
    yield chart("Age of the oldest waiting job", {"oldest": series.oldest_seconds}, "s")
    rates = {"in": "accepted", "succeeded": "succeeded", "failed": "failed", "retried": "retried"}
    yield chart("Jobs a second", {name: getattr(series, f"{of}_per_second") for name, of in rates.items()}, "/s")
    yield chart("How long jobs waited", _percentiles(series.waits), "s")
    yield chart("How long jobs ran", _percentiles(series.runs), "s")


def _percentiles(found: list[Percentiles | None]) -> dict[str, list[float | None]]:
    return {name: [getattr(each, name) if each else None for each in found] for name in Percentiles._fields}
