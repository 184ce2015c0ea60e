"""One failure: an error with its jobs, or messages that nobody could run; and dealing with it."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

from penstock.errors import BrokerUnavailable, PenstockError
from penstock.flower.charts import bar_chart, sparkline
from penstock.flower.errands import Errand
from penstock.flower.mending import MendingPage
from penstock.flower.page import Deed
from penstock.flower.roles import Role
from penstock.ledger.failure_groups import hour_of, trend
from penstock.ledger.session import reading
from penstock.operations.failures import errand, failed
from penstock.operations.failures.entries import SHOWN_MESSAGES, UNKNOWN, open_entry
from penstock.operations.failures.failed import Plan
from penstock.operations.failures.groups import KEPT, MOST_PARTS, SHOWN_JOBS, Group, find_group
from penstock.operations.failures.trends import change_of, hours_between
from penstock.operations.jobs.retry import retry
from penstock.operations.moments import moment_of
from penstock.operations.payload import Payload, shown_bytes
from penstock.wording import counted

MOST_BARS = 200
LOOKED_AT = 2_000
"""Failed jobs among which open ones are counted."""
REPEATED_HEADERS = ("argsrepr", "kwargsrepr")
"""Arguments once more, as text in which no secret could be told by its name."""


class NothingOpen(PenstockError):
    """There is nothing left to deal with; reload the page to see what became of it."""


class FailurePage(MendingPage):
    """An error by its fingerprint, a dead letter by its id, or the messages of an unknown task."""

    template = "failure.html"
    tab = "failures"

    def read(self) -> dict[str, Any]:
        """All about the failure of the address."""
        typed = self.text("since").strip()
        since = moment_of(typed, self.app.settings.timezone) if typed else None
        with reading(self.database_url) as connection:
            group = find_group(connection, self.id, since)
        return self._error(group) if group else self._entry()

    @property
    def id(self) -> str:
        """Of the failure."""
        return str(self.path_args[0])

    @property
    def back(self) -> str:
        """This page; of an unknown task the list: without messages it has no page."""
        return self.link("failures", view=UNKNOWN) if self.id.startswith(f"{UNKNOWN}:") else self.here

    @property
    def here(self) -> str:
        """This page with its query."""
        return super().back

    def _error(self, group: Group) -> dict[str, Any]:
        now = datetime.now(UTC)
        hours = hours_between(group.since, now)
        bars = zip(*(trend(each, group.since, now, MOST_BARS) for each in group.groups), strict=True)
        return {
            "group": group,
            "plan": self._plan_if_reachable(group.fingerprint),
            "counted_since": hour_of(group.since),
            "chart": bar_chart(
                "Failed jobs per hour",
                hours[:: -(-len(hours) // MOST_BARS)],
                [sum(each) for each in bars],
                self.app.settings.timezone,
            ),
            "tasks": [
                (
                    each,
                    change_of(each.hours, each.first_at, group.since, now),
                    trend(each, group.since, now, MOST_PARTS),
                )
                for each in group.groups
            ],
            "kept": any(job.reason in KEPT for job in group.latest),
            "sparkline": sparkline,
            "counted": counted,
            "here": self.here,
        }

    def _entry(self) -> dict[str, Any]:
        opened = open_entry(self.app, self.id)
        return {
            "group": None,
            "entry": opened.entry,
            "messages": opened.messages,
            "is_unknown": opened.entry.kind == UNKNOWN,
            "shown_messages": SHOWN_MESSAGES,
            "arguments": self._arguments,
            "headers": _headers,
            "shown_bytes": shown_bytes,
            "here": self.here,
        }

    def _arguments(self, message: Payload) -> Any:
        """What the message would have the task do, without secrets."""
        body = message.body
        if isinstance(body, list) and len(body) == 3:
            args, kwargs, _ = body
            return self.application.masking.call(message.task, {"args": args, "kwargs": kwargs})
        return body

    def replay(self) -> str | Errand:
        """Runs the message again, or those of the unknown task."""
        return self.replay_errand(errand.named(self.app, [self.id]), f"failure {self.id}")

    def discard(self) -> str | Errand:
        """Gives the message up, or those of the unknown task."""
        return self.discard_errand(errand.named(self.app, [self.id]), f"failure {self.id}")

    def replay_jobs(self) -> str | Errand:
        """Submits all open failed jobs of the error anew."""
        found = self._found()
        return self.replay_errand(found, found.text)

    def discard_jobs(self) -> str | Errand:
        """Gives all open failed jobs of the error up."""
        found = self._found()
        return self.discard_errand(found, found.text)

    def _plan_if_reachable(self, fingerprint: str) -> Plan | None:
        """Without Redis nothing can be done about an error, and it is shown all the same."""
        with suppress(BrokerUnavailable):
            return failed.plan(self.app, fingerprint, LOOKED_AT)
        return None

    def _found(self) -> errand.Errand:
        plan = failed.plan(self.app, self.id, LOOKED_AT)
        if plan is None or not (plan.count or plan.is_more):
            raise NothingOpen("none of its jobs is open: each is retried, discarded, or kept as a dead letter")
        return errand.Errand(plans=[plan], words={"error": self.id})

    def replay_selected(self) -> str:
        """Submits the selected jobs anew; all of them, or none if one cannot be."""
        done = list(retry(self.app, self._selected(), actor=self.actor))
        return f"{counted(len(done), 'job')} replayed"

    def discard_selected(self) -> str:
        """Gives the selected jobs up."""
        ids = self._selected()
        gone = len(failed.discard_jobs(self.app, ids, actor=self.actor))
        left = f"; {counted(len(ids) - gone, 'job')} had been dealt with already" if gone < len(ids) else ""
        return f"{counted(gone, 'job')} discarded{left}"

    def _selected(self) -> list[str]:
        ids = list(dict.fromkeys(self.texts("job")))
        if not ids:
            raise NothingOpen("no job is selected; tick some")
        if len(ids) > SHOWN_JOBS:
            raise NothingOpen(f"{len(ids):,} jobs are selected, and this page has {SHOWN_JOBS} at most")
        return ids

    deeds: ClassVar = {
        "replay": Deed(Role.OPERATOR, replay),
        "discard": Deed(Role.OPERATOR, discard),
        "replay-all": Deed(Role.OPERATOR, replay_jobs),
        "discard-all": Deed(Role.OPERATOR, discard_jobs),
        "replay-selected": Deed(Role.OPERATOR, replay_selected),
        "discard-selected": Deed(Role.OPERATOR, discard_selected),
    }


def _headers(message: Payload) -> dict[str, Any]:
    return {name: value for name, value in message.headers.items() if name not in REPEATED_HEADERS}
