"""All jobs that the ledger knows: searched, paged, and retried, cancelled or discarded together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from penstock.client.job import CANCEL_GRACE
from penstock.errors import PenstockError
from penstock.flower.errands import Errand
from penstock.flower.page import Deed, Page
from penstock.flower.roles import Role
from penstock.job import State
from penstock.ledger.rows import JobRow
from penstock.ledger.search import COUNTED, LOOKED_AT, Counts, JobFilter, Place, count_by_state, list_jobs
from penstock.ledger.session import reading
from penstock.operations.broker import served_queues
from penstock.operations.failures.failed import discard_jobs, why_not_open
from penstock.operations.jobs.cancel import cancel
from penstock.operations.jobs.retry import retry
from penstock.operations.jobs.waiting import find_waiting
from penstock.operations.moments import moment_of
from penstock.operations.wording import short_id
from penstock.wording import counted

PAGE = 50
MOST_SELECTED = 1000
RETRIED_AT_ONCE = 50
"""Jobs that are submitted before the page answers."""
MOST_REASONS = 3
"""Jobs of which the notice says why they were left alone."""
ASKED = ("state", "task", "queue", "tag", "error", "since", "until", "id", "argument", "value")
"""Fields of the filter, as they stand in the address."""


class BadFilter(PenstockError):
    """A filter cannot be; the message says what to change."""


class HistoryPage(Page):
    """Jobs, the most recently changed first."""

    template = "history.html"
    tab = "history"
    label = "History"

    def read(self) -> dict[str, Any]:
        """A page of jobs, and how many there are in each state."""
        asked = {name: self.text(name).strip() for name in ASKED}
        chosen, after = self.chosen(asked), self.text("after")
        with reading(self.database_url) as connection:
            page = list_jobs(connection, chosen, PAGE, Place.of(after) if after else None)
            counts = count_by_state(connection, self.chosen({**asked, "state": ""}))
        app = self.app
        return {
            "asked": asked,
            "jobs": page.jobs,
            # A job that has never run has no row, and can be asked for by its whole id only.
            "waiting": find_waiting(app, asked["id"]) if asked["id"] and not page.jobs else None,
            "by_state": list(self._by_state(asked, counts)),
            "cut_short": page.after.updated_at if page.after and page.is_cut_short else None,
            "older": self.link("history", **asked, after=page.after.cursor) if page.after else "",
            "looked_at": LOOKED_AT,
            "states": [state.value for state in State],
            "tasks": sorted(name for name in app.tasks if not name.startswith("celery.")),
            "queues": served_queues(app),
            "searchable": app.settings.searchable,
            "here": self.back,
            "runtime": _runtime,
        }

    def chosen(self, asked: dict[str, str]) -> JobFilter:
        """The filter that the address asks for.

        Raises:
            BadFilter: there is no such state, or an argument without a value.
            NotSearchable: nobody has allowed to search by that argument.
            BadMoment: a time is none.
        """
        if asked["state"] and asked["state"] not in [state.value for state in State]:
            raise BadFilter(f"{asked['state']!r} is no state; known are {', '.join(State)}")
        if bool(asked["argument"]) != bool(asked["value"]):
            raise BadFilter("an argument and its value go together; give both or neither")
        settings = self.app.settings
        zone = settings.timezone
        return JobFilter(
            states=(State(asked["state"]),) if asked["state"] else (),
            task=asked["task"] or None,
            queue=asked["queue"] or None,
            error=asked["error"] or None,
            since=moment_of(asked["since"], zone) if asked["since"] else None,
            until=moment_of(asked["until"], zone) if asked["until"] else None,
            id_prefix=asked["id"] or None,
            tag=asked["tag"] or None,
            arguments={asked["argument"]: asked["value"]} if asked["argument"] else {},
            searchable=settings.searchable,
        )

    def _by_state(self, asked: dict[str, str], counts: Counts) -> Iterator[tuple[str, str, str, bool]]:
        """A link for each state that some job is in."""
        others = {name: value for name, value in asked.items() if name != "state"}
        yield "all", "", self.link("history", **others), not asked["state"]
        for state in State:
            if state in counts.states or state.value == asked["state"]:
                count = counts.states.get(state, 0)
                beyond = "+" if state in counts.at_least else ""
                address = self.link("history", **others, state=state.value)
                yield state.value, f"{min(count, COUNTED):,}{beyond}", address, asked["state"] == state.value

    def selected(self) -> list[str]:
        """The jobs that are ticked.

        Raises:
            BadFilter: none is, or far too many.
        """
        ids = list(dict.fromkeys(self.texts("job")))
        if not ids:
            raise BadFilter("no job is selected; tick some")
        if len(ids) > MOST_SELECTED:
            raise BadFilter(f"{len(ids):,} jobs are selected, and at most {MOST_SELECTED:,} can be at once")
        return ids

    def retry(self) -> str | Errand:
        """Submits the selected jobs anew; all of them, or none if one has not ended."""
        app, actor, ids = self.app, self.actor, self.selected()

        def work(errand: Errand) -> str:
            for _ in retry(app, ids, actor=actor):
                errand.advance(errand.done + 1)
            return f"{counted(errand.done, 'job')} retried"

        title = f"Retrying {counted(len(ids), 'job')}"
        if len(ids) > RETRIED_AT_ONCE:
            return self.begin(title, work, len(ids))
        return work(Errand(title, actor, self.back, total=len(ids)))

    def cancel(self) -> str:
        """Cancels the selected jobs, those that have not ended."""
        done = cancel(self.app, self.selected(), actor=self.actor, grace=CANCEL_GRACE)
        ended = f"; {counted(len(done.ended), 'job')} had ended already" if done.ended else ""
        return f"{counted(len(done.means), 'job')} cancelled{ended}"

    def discard(self) -> str:
        """Gives the selected jobs up, those that have failed and that nobody has dealt with."""
        ids = self.selected()
        gone = set(discard_jobs(self.app, ids, actor=self.actor))
        left = [id for id in ids if id not in gone]
        why = [f"{short_id(id)} {reason}" for id, reason in why_not_open(self.app, left[:MOST_REASONS]).items()]
        if len(left) > MOST_REASONS:
            why.append(f"and {len(left) - MOST_REASONS:,} more")
        rest = f"; {counted(len(left), 'job')} could not be: {', '.join(why)}" if left else ""
        return f"{counted(len(gone), 'job')} discarded{rest}"

    deeds: ClassVar = {
        "retry": Deed(Role.OPERATOR, retry),
        "cancel": Deed(Role.OPERATOR, cancel),
        "discard": Deed(Role.OPERATOR, discard),
    }


def _runtime(job: JobRow) -> float | None:
    if job.started_at is None or job.finished_at is None:
        return None
    return (job.finished_at - job.started_at).total_seconds()
