"""Workers' processes: which worker is stuck, what each of its children runs, and what workers are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from penstock.flower.meter import meter
from penstock.flower.page import Deed, Page
from penstock.flower.roles import Role
from penstock.operations.workers import deeds
from penstock.operations.workers.look import look, show
from penstock.operations.workers.view import Child, Told, Verdict, WorkerView
from penstock.wording import duration

RELOAD_SECONDS = 10
KIB_OF_MIB = 1024
MOST_DIGITS = 6
NEAR_LIMIT = 0.8
"""Of its limit: a job that has run for longer stands out."""


class ProcessesPage(Page):
    """All workers, those first that somebody has to look after."""

    template = "processes.html"
    tab = "processes"
    label = "Processes"

    def read(self) -> dict[str, Any]:
        """Workers that answer, and those that hold a lease and do not."""
        views = look(self.app)
        told = [view.told for view in views if view.told is not None]
        return {
            "workers": views,
            "stuck": sum(view.verdict is Verdict.STUCK for view in views),
            "running": sum(len(each.running) for each in told),
            "children": sum(len(each.children) for each in told),
            "jobs": f"{sum(each.jobs for each in told):,}",
            "memory": mebibytes(sum(each.memory_kib for each in told)),
            "mebibytes": mebibytes,
            "longest": longest,
            "reload_seconds": RELOAD_SECONDS,
        }


class WorkerProcessesPage(Page):
    """One worker: its processes, and what they do."""

    template = "worker_processes.html"
    tab = "processes"

    def read(self) -> dict[str, Any]:
        """The worker that the address names."""
        view = show(self.app, self.name)
        told = view.told
        largest = max((process.memory_kib for process in told.processes), default=0) if told else 0
        return {
            "worker": view,
            "told": told,
            "children": told.children if told else (),
            "at_work": at_work(told),
            "memory_meter": lambda process: meter(
                f"{mebibytes(process.memory_kib)} of memory", process.memory_kib, largest, "b"
            ),
            "ran_meter": ran_meter(told),
            "mebibytes": mebibytes,
            "may_claim_again": bool(told and told.is_ours and told.stopped),
            "may_stop_claiming": bool(told and told.is_ours and told.queues),
            "reload_seconds": RELOAD_SECONDS,
            "most_at_once": deeds.MOST_AT_ONCE,
        }

    @property
    def name(self) -> str:
        """The worker's, as Celery knows it."""
        return str(self.path_args[0])

    def grow(self) -> str:
        """More children."""
        return deeds.grow(self.app, self.name, self.number, actor=self.actor)

    def shrink(self) -> str:
        """Fewer children."""
        return deeds.shrink(self.app, self.name, self.number, actor=self.actor)

    def stop_claiming(self) -> str:
        """Runs what it has, and claims no more."""
        return deeds.stop_claiming(self.app, self.name, actor=self.actor)

    def claim_again(self) -> str:
        """Goes on claiming."""
        return deeds.claim_again(self.app, self.name, actor=self.actor)

    def shut_down(self) -> str:
        """Ends it once its jobs have."""
        return deeds.shut_down(self.app, self.name, actor=self.actor)

    @property
    def number(self) -> int:
        """How many children; a refusal names what can be said, so no number is one as well."""
        text = self.text("number").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < MOST_DIGITS else 0

    deeds: ClassVar = {
        "grow": Deed(Role.OPERATOR, grow),
        "shrink": Deed(Role.OPERATOR, shrink),
        "stop-claiming": Deed(Role.OPERATOR, stop_claiming),
        "claim-again": Deed(Role.OPERATOR, claim_again),
        "shut-down": Deed(Role.ADMIN, shut_down),
    }


def mebibytes(kib: float) -> str:
    """12.3 MiB."""
    size = kib / KIB_OF_MIB
    return f"{size:,.1f} MiB" if size < 100 else f"{size:,.0f} MiB"


def longest(view: WorkerView) -> Child | None:
    """The child whose job has run for the longest time."""
    return max(view.told.running, key=lambda child: child.seconds or 0, default=None) if view.told else None


def at_work(told: Told | None) -> str:
    """How many of its children run something."""
    return f"{len(told.running)} of {len(told.children)}" if told else ""


def ran_meter(told: Told | None) -> Callable[[Child], str]:
    """Draws how long a child's job has run: of its limit if it has one, else beside the other jobs of the worker."""
    most = max((child.seconds or 0 for child in told.running), default=0) if told else 0

    def draw(child: Child) -> str:
        seconds = child.seconds or 0
        if child.limit:
            colour = "c" if seconds > child.limit * NEAR_LIMIT else "a"
            return meter(f"{duration(seconds)} of at most {duration(child.limit)}", seconds, child.limit, colour)
        return meter(f"runs for {duration(seconds)}", seconds, most)

    return draw
