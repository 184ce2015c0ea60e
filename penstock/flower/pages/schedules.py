"""All schedules: who is late, what was missed or skipped lately and why, and when each fires next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property
from typing import Any

from sqlalchemy import Connection

from penstock.errors import DeclarationError, PenstockError
from penstock.flower.page import Page
from penstock.job import State
from penstock.ledger import fires
from penstock.ledger.fires import FireRow, FireState
from penstock.ledger.schedule_search import Only, ScheduleFilter, SchedulePlace, count_schedules, list_schedules
from penstock.ledger.schedules import BeatRow, ScheduleRow, clock, definitions, list_beats
from penstock.ledger.session import reading
from penstock.ledger.unfired import UNFIRED, UnfiredPlace, count_unfired, list_unfired
from penstock.operations.schedules import LATE, Phase, at_work, moment, phase_of, phase_text, when_text
from penstock.scheduler.changes import Known
from penstock.scheduler.schedule import Schedule
from penstock.scheduler.timetables.zones import zone_of
from penstock.wording import distance

PAGE = 100
LATELY = timedelta(hours=24)
LOOKED_AT, SHOWN = 200, 6
"""Of the fires that were missed, or skipped, lately: how many are looked at, and of how many schedules one is shown."""
COUNTED = 1_000
"""Beyond so many nobody counts on."""
ASKED = ("only", "name", "tag")
"""Fields of the filter, as they stand in the address."""


class BadPart(PenstockError):
    """There is no such part of the schedules, or of what was not fired; the message names those that there are."""


@dataclass(frozen=True)
class Listed:
    """A schedule, as the list shows it."""

    row: ScheduleRow
    now: datetime
    last: FireRow | None
    job_state: State | None
    """Of the last fire's job, if it is on the books."""

    @cached_property
    def schedule(self) -> Schedule | None:
        """What it says; None: this version cannot read it, and shows the rest."""
        try:
            return Known(self.row).schedule
        except DeclarationError:
            return None

    @property
    def when(self) -> str:
        """Its timetable."""
        return when_text(self.schedule) if self.schedule else "written by another version, which can read it"

    @property
    def phase(self) -> Phase:
        """How far it is."""
        return phase_of(self.row, self.now)

    @property
    def next(self) -> str:
        """When it fires next as seen from now, or why it does not."""
        return phase_text(self.row, self.now)

    @property
    def zone(self) -> tzinfo:
        """In which its times are shown."""
        return self.schedule.zone if self.schedule else UTC

    def moment(self, time: datetime) -> str:
        """A time in its zone, with its offset."""
        return moment(time.astimezone(self.zone))


@dataclass(frozen=True)
class Alike:
    """Fires of one schedule that were missed, or skipped, lately."""

    newest: FireRow
    planned_at: str
    """Of the newest, in the zone of its schedule."""
    more: int
    """Others among those that were looked at."""


class SchedulesPage(Page):
    """Schedules, the late ones first."""

    template = "schedules.html"
    tab = "schedules"
    label = "Schedules"

    def read(self) -> dict[str, Any]:
        """A page of schedules; on the first one also what was missed or skipped lately."""
        asked = {name: self.text(name).strip() for name in ASKED}
        chosen, after = self.chosen(asked), self.text("after")
        with reading(self.database_url) as connection:
            now = clock(connection)
            page = list_schedules(connection, chosen, PAGE, now - LATE, SchedulePlace.of(after) if after else None)
            counts = count_schedules(connection, now - LATE)
            beats = list_beats(connection)
            return {
                "asked": asked,
                "listed": list(_listed(connection, page.rows, now)),
                "next_page": self.link("schedules", **asked, after=page.after.cursor) if page.after else "",
                "is_first": not after,
                "counts": counts,
                "parts": list(self._parts(asked, {"": counts.all, Only.LATE: counts.late, Only.PAUSED: counts.paused})),
                "beats_at_work": len(at_work(beats, now)),
                "beats_seen": beats_seen(beats, now),
                **self._lately(connection, now),
            }

    def chosen(self, asked: Mapping[str, str]) -> ScheduleFilter:
        """The filter that the address asks for.

        Raises:
            BadPart: there is no such part.
        """
        if asked["only"] not in ["", *Only]:
            raise BadPart(f"{asked['only']!r} is no part of the schedules; known are {', '.join(Only)}")
        only = Only(asked["only"]) if asked["only"] else None
        return ScheduleFilter(only=only, name=asked["name"] or None, tag=asked["tag"] or None)

    def _parts(self, asked: Mapping[str, str], counts: Mapping[str, int]) -> Iterator[tuple[str, int, str, bool]]:
        for only, count in counts.items():
            yield only or "all", count, self.link("schedules", **{**asked, "only": only}), asked["only"] == only

    def _lately(self, connection: Connection, now: datetime) -> dict[str, Any]:
        since = now - LATELY
        alike = [each for state in UNFIRED for each in _alike(connection, state, since)]
        return {"lately": alike, "numbers": {state: self._number(connection, state, since) for state in UNFIRED}}

    def _number(self, connection: Connection, state: FireState, since: datetime) -> str:
        found = count_unfired(connection, state, since, COUNTED)
        return f"{found:,}{'+' if found == COUNTED else ''}"


class UnfiredPage(Page):
    """Fires of the last day that were missed, or skipped, all of them, the last decided first."""

    template = "unfired.html"
    tab = "schedules"

    def read(self) -> dict[str, Any]:
        """A page of them.

        Raises:
            BadPart: fires with such a state are in no such list.
        """
        word, after = self.path_args[0], self.text("after")
        if word not in list(UNFIRED):
            raise BadPart(f"{word!r}: known are {', '.join(UNFIRED)}")
        state = FireState(word)
        with reading(self.database_url) as connection:
            since = clock(connection) - LATELY
            found = list_unfired(connection, state, since, PAGE + 1, UnfiredPlace.of(after) if after else None)
            zones = _zones(connection, found)
        last = found[PAGE - 1] if len(found) > PAGE else None
        place = UnfiredPlace(last.decided_at, last.schedule, last.planned_at) if last else None
        return {
            "state": state,
            "fires": [(fire, _planned(fire, zones)) for fire in found[:PAGE]],
            "next_page": self.link("unfired", state.value, after=place.cursor) if place else "",
        }


def beats_seen(beats: Sequence[BeatRow], now: datetime) -> str:
    """When somebody last looked what is due, or what to do about it that nobody has."""
    if not beats:
        return "none has ever been seen; start one"
    latest = max(beat.seen_at for beat in beats)
    return f"last seen {distance(latest, now)}" + ("" if at_work(beats, now) else "; start one")


def _listed(connection: Connection, rows: Sequence[ScheduleRow], now: datetime) -> Iterator[Listed]:
    last = fires.last_fires(connection, [row.name for row in rows])
    states = fires.job_states(connection, list(last.values()))
    for row in rows:
        fire = last.get(row.name)
        yield Listed(row, now, fire, states.get(fire.job_id) if fire and fire.job_id else None)


def _alike(connection: Connection, state: FireState, since: datetime) -> Iterator[Alike]:
    """The newest of each schedule, so that one that is skipped every second hides no other."""
    by_schedule: dict[str, list[FireRow]] = {}
    for fire in list_unfired(connection, state, since, LOOKED_AT):
        by_schedule.setdefault(fire.schedule, []).append(fire)
    shown = list(by_schedule.values())[:SHOWN]
    zones = _zones(connection, [found[0] for found in shown])
    for found in shown:
        newest = max(found, key=lambda fire: fire.planned_at)
        yield Alike(newest, _planned(newest, zones), len(found) - 1)


def _zones(connection: Connection, rows: Sequence[FireRow]) -> dict[str, tzinfo]:
    """The zones of their schedules, as far as these are still there and can be read."""
    named = definitions(connection, {row.schedule for row in rows})
    return {name: zone for name, words in named.items() if (zone := _zone(words))}


def _zone(words: Mapping[str, Any]) -> tzinfo | None:
    try:
        return zone_of(words["timezone"])
    except (KeyError, DeclarationError):
        return None


def _planned(fire: FireRow, zones: Mapping[str, tzinfo]) -> str:
    return moment(fire.planned_at.astimezone(zones.get(fire.schedule, UTC)))
