"""What has failed: jobs by error, messages that nobody could run, and what to do about many of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

from penstock.broker.breakers import CLOSED
from penstock.errors import BrokerUnavailable, PenstockError
from penstock.flower.charts import bar_chart, sparkline
from penstock.flower.errands import Errand
from penstock.flower.mending import MendingPage
from penstock.flower.page import Deed
from penstock.flower.roles import Role
from penstock.ledger.failure_groups import GroupFilter
from penstock.ledger.session import reading
from penstock.ledger.tables import Kind
from penstock.operations.broker import served_queues
from penstock.operations.failures import breakers, errand
from penstock.operations.failures.entries import UNKNOWN, EntryFilter, list_entries
from penstock.operations.failures.groups import since_or_default
from penstock.operations.failures.search import LOOKED_AT, find_errors
from penstock.operations.failures.selection import FAILED, Selection
from penstock.operations.moments import moment_of
from penstock.wording import counted

PAGE, MOST_GROUPS = 50, 500
COUNTED_AT_ONCE = 2_000
"""Failed jobs among which those that fit are counted before all of them are dealt with."""
ERRORS, RESOLVED, BREAKERS = "errors", "resolved", "breakers"
VIEWS = {
    ERRORS: "Errors",
    Kind.BURIED.value: "Buried",
    Kind.QUARANTINED.value: "Quarantined",
    UNKNOWN: "Unknown tasks",
    RESOLVED: "Resolved",
    BREAKERS: "Breakers",
}
NOTHING = {
    Kind.BURIED.value: "No message is buried: none has killed its process too often, and none was rejected.",
    Kind.QUARANTINED.value: "No message is quarantined: each could be read.",
    UNKNOWN: "No message waits for a worker that knows its task.",
    RESOLVED: "No failure was replayed or discarded so far.",
}
"""What an empty list says, by view."""
WINDOWS = {"1h": "Last hour", "24h": "Last day", "7d": "Last week"}
DEFAULT_WINDOW = "24h"
ASKED = ("view", "since", "task", "queue", "text", "tag")
"""Fields of the filter, as they stand in the address."""
OF_ERRORS, OF_ENTRIES = ("task", "text"), ("task", "text", "since", "queue")
"""Those that make a list shorter. Errors are counted by task and hour, of whatever queue and tags their jobs are."""


class BadView(PenstockError):
    """The address asks for what this page has not; the message says what there is."""


class FailuresPage(MendingPage):
    """Errors with the most jobs first; or dead letters and unknown tasks."""

    template = "failures.html"
    tab = "failures"
    label = "Failures"

    def read(self) -> dict[str, Any]:
        """One view, and how much there is in the others."""
        app, view = self.app, self.view
        read = {ERRORS: self._errors, BREAKERS: self._breakers}.get(view, self._entries)
        return {
            **read(),
            "asked": self.asked,
            "is_filtered": any(self.asked[name] for name in (OF_ERRORS if view == ERRORS else OF_ENTRIES)),
            "view": view,
            "views": list(self._views(self._open_entries())),
            "tasks": sorted(name for name in app.tasks if not name.startswith("celery.")),
            "queues": served_queues(app),
            "here": self.back,
        }

    @property
    def asked(self) -> dict[str, str]:
        """The filter, as it was typed."""
        return {name: self.text(name).strip() for name in ASKED}

    @property
    def view(self) -> str:
        """What is listed.

        Raises:
            BadView: there is no such list.
        """
        asked = self.asked["view"] or ERRORS
        if asked not in VIEWS:
            raise BadView(f"there is no list {asked!r}; there are {', '.join(VIEWS)}")
        return asked

    @property
    def since(self) -> datetime | None:
        """From when on; None: it was not asked.

        Raises:
            BadMoment: what was typed is no time.
        """
        typed = self.asked["since"]
        return moment_of(typed, self.app.settings.timezone) if typed else None

    @property
    def chosen(self) -> EntryFilter:
        """Which dead letters and unknown tasks are listed, and are dealt with when all are."""
        asked, view = self.asked, self.view
        return EntryFilter(
            kind=None if view in (RESOLVED, BREAKERS) else view,
            task=asked["task"] or None,
            queue=asked["queue"] or None,
            reason=asked["text"] or None,
            since=self.since,
            is_open=view != RESOLVED,
        )

    def _errors(self) -> dict[str, Any]:
        asked, until = self.asked, datetime.now(UTC)
        chosen = GroupFilter(since=min(since_or_default(self.since), until), task=asked["task"] or None)
        shown = self._shown
        with reading(self.database_url) as connection:
            errors = find_errors(connection, chosen, asked["text"] or None, until, shown)
        has_more = len(errors.groups) < errors.total and shown < MOST_GROUPS
        return {
            "errors": errors,
            "chart": bar_chart("Failed jobs per hour", errors.hours, errors.counts, self.app.settings.timezone),
            "sparkline": sparkline,
            "counted": counted,
            "windows": list(self._windows()),
            "more": self.link("failures", **asked, shown=shown + PAGE) if has_more else "",
            "looked_at": LOOKED_AT,
        }

    def _breakers(self) -> dict[str, Any]:
        return {"breakers": breakers.list_breakers(self.app)}

    @property
    def _shown(self) -> int:
        """How many errors are listed."""
        asked = self.text("shown")
        return min(max(int(asked), PAGE), MOST_GROUPS) if asked.isdecimal() and len(asked) < 9 else PAGE

    def _entries(self) -> dict[str, Any]:
        found = list_entries(self.app, self.chosen, PAGE, self.text("after") or None)
        is_unknown = self.view == UNKNOWN
        last = found.entries[-1].id if len(found.entries) == PAGE and not is_unknown else ""
        return {
            "entries": found.entries,
            "nothing": NOTHING[self.view],
            "total": sum(entry.messages for entry in found.entries) if is_unknown else sum(found.counts.values()),
            "older": self.link("failures", **self.asked, after=last) if last else "",
        }

    def _open_entries(self) -> dict[str, int] | None:
        """How many entries of each kind wait for somebody; None: without Redis, errors are shown all the same."""
        with suppress(BrokerUnavailable):
            return list_entries(self.app, EntryFilter(), 0).counts
        return None

    def _views(self, counts: dict[str, int] | None) -> Iterator[tuple[str, str, str, bool]]:
        others = {name: value for name, value in self.asked.items() if name in ("task", "queue")}
        for view, label in VIEWS.items():
            count = (
                f"{counts.get(view, 0):,}" if counts is not None and view not in (ERRORS, RESOLVED, BREAKERS) else ""
            )
            yield label, count, self.link("failures", **others, view=view), self.view == view

    def _windows(self) -> Iterator[tuple[str, str, bool]]:
        asked = self.asked
        for window, label in WINDOWS.items():
            is_chosen = (asked["since"] or DEFAULT_WINDOW) == window
            yield label, self.link("failures", **{**asked, "since": window}), is_chosen

    def selected(self) -> errand.Errand:
        """The entries that are ticked.

        Raises:
            BadView: none is.
            EntryNotFound: one is gone.
        """
        ids = list(dict.fromkeys(self.texts("entry")))
        if not ids:
            raise BadView("no failure is selected; tick some")
        if len(ids) > PAGE:
            raise BadView(f"{len(ids):,} failures are selected, and a page has {PAGE} at most")
        return errand.named(self.app, ids)

    def fitting(self) -> errand.Errand:
        """All open failures of the filter.

        Raises:
            BadView: there are none, or they cannot be dealt with.
        """
        if self.view in (RESOLVED, BREAKERS):
            raise BadView("only a list of open failures can be dealt with as a whole")
        found = errand.chosen(self.app, self.selection, looked_at=COUNTED_AT_ONCE)
        if not (found.total or found.is_more):
            raise BadView("no open failure fits any more")
        return found

    @property
    def selection(self) -> Selection:
        """What is dealt with when all that fits is."""
        asked, is_errors = self.asked, self.view == ERRORS
        return Selection(
            kind=FAILED if is_errors else self.view,
            error=(asked["text"] or None) if is_errors else None,
            reason=None if is_errors else asked["text"] or None,
            task=asked["task"] or None,
            queue=asked["queue"] or None,
            tag=asked["tag"] or None if is_errors else None,
            since=since_or_default(self.since) if is_errors else self.since,
        )

    def replay(self) -> str | Errand:
        """Runs the selected ones again."""
        return self._replay(self.selected())

    def discard(self) -> str | Errand:
        """Gives the selected ones up."""
        return self._discard(self.selected())

    def replay_fitting(self) -> str | Errand:
        """Runs all that the filter chooses again."""
        return self._replay(self.fitting())

    def discard_fitting(self) -> str | Errand:
        """Gives all that the filter chooses up."""
        return self._discard(self.fitting())

    def _replay(self, found: errand.Errand) -> str | Errand:
        return self.replay_errand(found, found.text)

    def _discard(self, found: errand.Errand) -> str | Errand:
        return self.discard_errand(found, found.text)

    def open_breaker(self) -> str:
        """Has a task started no more."""
        task = self._task()
        breakers.open_breaker(self.app, task, self.text("note").strip(), actor=self.actor)
        return f"{task} is not started any more, until somebody closes its breaker"

    def close_breaker(self) -> str:
        """Has a task started again."""
        task = self._task()
        done = breakers.close_breaker(self.app, task, actor=self.actor)
        return f"{task} is started again" if done.before != CLOSED else f"the breaker of {task} was closed already"

    def _task(self) -> str:
        """The one whose breaker is meant.

        Raises:
            BadView: none is named.
        """
        if not (task := self.text("breaker").strip()):
            raise BadView("no task is named; type its full name")
        return task

    deeds: ClassVar = {
        "replay": Deed(Role.OPERATOR, replay),
        "discard": Deed(Role.OPERATOR, discard),
        "replay-all": Deed(Role.OPERATOR, replay_fitting),
        "discard-all": Deed(Role.OPERATOR, discard_fitting),
        "open-breaker": Deed(Role.OPERATOR, open_breaker),
        "close-breaker": Deed(Role.OPERATOR, close_breaker),
    }
