"""One schedule: what it says, what comes next, what has become of its fires; and pausing, triggering, backfilling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from penstock.errors import LedgerOutdated, LedgerUnavailable, PenstockError, ScheduleRefused
from penstock.flower.errands import Errand
from penstock.flower.outcomes import outcome_strip
from penstock.flower.page import Deed, Page
from penstock.flower.pages.schedules import Listed
from penstock.flower.roles import Role
from penstock.ledger import fires
from penstock.ledger.cursors import moment_of as moment_of_cursor
from penstock.ledger.fires import FireRow, FireState, Origin
from penstock.ledger.schedules import clock, list_beats
from penstock.ledger.session import reading
from penstock.operations.jobs.arguments import names_of
from penstock.operations.moments import moment_of
from penstock.operations.schedules import (
    Questions,
    Upcoming,
    at_work,
    backfill_text,
    is_within_minute,
    meaning_of,
    moment,
    rules,
    schedules_of,
    span,
    with_shifts,
)
from penstock.scheduler.changes import Portrait, Preview, Schedules
from penstock.scheduler.forecast import oddities
from penstock.scheduler.schedule import Schedule

PAGE, NEXT = 50, 10
DRAWN, FEW = 60, 5
"""Fires in the picture, and how many it takes to say more than the list."""
COUNTED = 100_000
"""Fires of one schedule that are counted, and looked through for those in one state; the newest ones."""
OPEN_SHOWN = 5
QUESTIONS = Questions()


class BadState(PenstockError):
    """No fire is in such a state; the message names those that there are."""


class SchedulePage(Page):
    """The schedule that the address names."""

    template = "schedule.html"
    tab = "schedules"

    def read(self) -> dict[str, Any]:
        """All about it, with a page of its fires."""
        word, before = self.text("state"), self.text("before")
        if word not in ["", *FireState]:
            raise BadState(f"{word!r} is no state of a fire; known are {', '.join(FireState)}")
        portrait = self.asked.show(
            self.name,
            PAGE + 1,
            FireState(word) if word else None,
            before=moment_of_cursor(before) if before else None,
            among=COUNTED,
        )
        shown, known = portrait.fires[:PAGE], portrait.known
        with reading(self.database_url) as connection:
            now, beats = clock(connection), list_beats(connection)
            drawn = fires.list_fires(connection, self.name, DRAWN)
            states = fires.job_states(connection, shown)
        listed = Listed(known.row, now, None, None)
        older = shown[-1].planned_at.isoformat() if len(portrait.fires) > PAGE else ""
        return {
            "name": self.name,
            "listed": listed,
            "row": known.row,
            "zone": str(listed.zone),
            "strip": outcome_strip(drawn[::-1], listed.zone) if len(drawn) >= FEW else "",
            "planned_text": planned_text(listed, shown),
            "fires": [(fire, states.get(fire.job_id or ""), lateness(fire)) for fire in shown],
            "states": list(self._states(word, portrait)),
            "is_counted_in_part": sum(portrait.counts.values()) >= COUNTED,
            "counted": COUNTED,
            "older": self.link("schedule", self.name, state=word, before=older) if older else "",
            "open_jobs": portrait.open_jobs[:OPEN_SHOWN],
            "open_count": len(portrait.open_jobs),
            "has_beat": bool(at_work(beats, now)),
            **self._said(listed.schedule),
            **self._upcoming(portrait, now),
            **self._backfill(listed),
        }

    @property
    def name(self) -> str:
        """Of the schedule."""
        return str(self.path_args[0])

    @property
    def asked(self) -> Schedules:
        """The schedules of this deployment, for this user."""
        return schedules_of(self.app, self.actor)

    def _said(self, schedule: Schedule | None) -> dict[str, Any]:
        """What it says, without secrets; nothing, if this version cannot read it."""
        if schedule is None:
            return {"schedule": None, "rules": [], "args": [], "kwargs": {}, "oddities": []}
        hide = self.application.redaction
        args, kwargs = hide.call(schedule.args, schedule.kwargs, names_of(self.app, schedule.task))
        told = [(name, str(hide.value(name, value)), meaning_of(name, value)) for name, value in rules(schedule)]
        return {
            "schedule": schedule,
            "rules": told,
            "args": args,
            "kwargs": kwargs,
            "oddities": list(oddities(schedule, datetime.now(schedule.zone))),
        }

    def _upcoming(self, portrait: Portrait, now: datetime) -> dict[str, Any]:
        found = QUESTIONS.next_or_reason(self.asked, portrait.known, NEXT)
        if isinstance(found, str):
            return {"upcoming": [], "unknown": found}
        return {"upcoming": [(each.at, shift_text(each)) for each in with_shifts(found, now)], "unknown": ""}

    def _states(self, chosen: str, portrait: Portrait) -> Iterator[tuple[str, int, str, bool]]:
        counts: Mapping[FireState, int] = portrait.counts
        yield "all", sum(counts.values()), self.link("schedule", self.name), not chosen
        for state in FireState:
            if state in counts or state == chosen:
                address = self.link("schedule", self.name, state=state.value)
                yield state.value, counts.get(state, 0), address, state == chosen

    # -- making up for what was not fired -------------------------------------------------------------------------

    def _backfill(self, listed: Listed) -> dict[str, Any]:
        """What the form says, and what it would do."""
        given = {name: self.text(name).strip() for name in ("since", "until", "at_once")}
        found: dict[str, Any] = {"given": given, "preview": None, "refusal": ""}
        if not given["since"]:
            return found
        try:
            since, until = self._range()
            preview = self.asked.preview_backfill(self.name, since, until)
        except (LedgerUnavailable, LedgerOutdated):
            raise
        except PenstockError as error:
            return found | {"refusal": str(error)}
        return found | {
            "preview": preview,
            "ends": _ends(preview, listed),
            "since": since.isoformat(),
            "until": until.isoformat(),
        }

    def _range(self) -> tuple[datetime, datetime]:
        """The range that the form names; up to now if it names no end.

        Raises:
            BadMoment: a time is none.
            ScheduleRefused: it ends before it begins.
        """
        zone = self.app.settings.timezone
        since = moment_of(self.text("since"), zone)
        # Fixed here: what is started is what was shown, however long somebody thinks about it.
        until = moment_of(self.text("until").strip() or "0s", zone)
        if until < since:
            raise ScheduleRefused("the range ends before it begins; exchange since and until")
        return since, until

    def backfill(self) -> Errand:
        """Makes up for the planned times of a range."""
        (since, until), at_once = self._range(), bool(self.text("at_once"))
        asked, name = self.asked, self.name

        def work(errand: Errand) -> str:
            done = asked.backfill(name, since, until, at_once=at_once)
            errand.advance(len(done.started) + len(done.waiting))
            return backfill_text(done)

        return self.begin(f"Backfill of {name}", work)

    # -- the other deeds ------------------------------------------------------------------------------------------

    def pause(self) -> str:
        """Skips its planned times from now on."""
        self.asked.pause(self.name, self.text("note").strip())
        return f"{self.name} is paused: its planned times are skipped until somebody resumes it"

    def resume(self) -> str:
        """Ends a pause."""
        self.asked.resume(self.name)
        return f"{self.name} is resumed; what was planned meanwhile stays skipped, unless it is backfilled"

    def trigger(self) -> str:
        """Starts its task now."""
        return f"{self.name}: job {self.asked.trigger(self.name).job_id} is on its way"

    deeds: ClassVar = {
        "pause": Deed(Role.OPERATOR, pause),
        "resume": Deed(Role.OPERATOR, resume),
        "trigger": Deed(Role.OPERATOR, trigger),
        "backfill": Deed(Role.OPERATOR, backfill),
    }


def planned_text(listed: Listed, shown: Sequence[FireRow]) -> Callable[[FireRow], str]:
    """Writes the planned times of fires for one column; with seconds if any has some. Those that somebody has triggered
    have none to speak of.
    """
    has_seconds = any(is_within_minute(fire.planned_at) for fire in shown if fire.origin is not Origin.TRIGGERED)
    return lambda fire: moment(fire.planned_at.astimezone(listed.zone), has_seconds=has_seconds)


def lateness(fire: FireRow) -> float | None:
    """Seconds from a planned time to its job, if they are worth telling."""
    late = (fire.decided_at - fire.planned_at).total_seconds()
    return late if fire.job_id and fire.origin is Origin.PLANNED and late >= 1 else None


def shift_text(upcoming: Upcoming) -> str:
    """What happens to the clocks before a planned time; empty: nothing."""
    if not upcoming.shift:
        return ""
    way = "forward" if upcoming.shift > timedelta(0) else "back"
    return f"clocks go {way} {span(abs(upcoming.shift.total_seconds()))} before it"


def _ends(preview: Preview, listed: Listed) -> str:
    """The first and the last of its times."""
    ends = [preview.times[0], preview.times[-1]] if preview.times else []
    return " to ".join(dict.fromkeys(map(listed.moment, ends)))
