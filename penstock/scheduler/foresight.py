"""Timetables that somebody else has written may be slow, or fail: they are asked ahead of time, in threads.

A schedule takes part in a transaction only when all its times that are due by then are known, so that no lock is held
while foreign code runs, and one that hangs delays no other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from penstock.errors import PenstockError
from penstock.ledger import schedules
from penstock.ledger.schedules import ScheduleRow
from penstock.ledger.session import reading, writing
from penstock.scheduler import planning
from penstock.scheduler.schedule import Schedule
from penstock.scheduler.timetables.foreign import Foreign

logger = logging.getLogger("penstock.beat")
AHEAD = timedelta(seconds=60)
"""How far times are asked for."""
MOST = 1000
"""Times of one schedule that are kept; more than are decided on at once."""
PLANNING = ("when", "timezone", "dst", "start", "end", "jitter")
"""What decides on planned times and when they are due, as words of a definition."""
HANDS, HUNG_SECONDS = 16, 10.0
"""Timetables that are asked at the same time, without those that have not answered for so long."""
AGAIN_SECONDS, PAUSE_SECONDS = 10.0, 0.25
"""Until a timetable that failed is asked again, and between two looks whether there is anything to ask."""


@dataclass
class _Asked:
    """One foreign schedule, and what its object has said."""

    schedule: Schedule
    times: dict[datetime, datetime | None] = field(default_factory=dict)
    """From each planned time to the next."""
    planned_at: datetime | None = None
    """The planned time of its row, as it was seen last."""
    is_in_hand: bool = False
    taken_at: float = 0.0
    again_at: float = 0.0

    def reach(self) -> tuple[datetime | None, int]:
        """Up to which planned time, itself not included, all is known, None being the end; and how many these are."""
        planned, count = self.planned_at, 0
        while planned is not None and planned in self.times:
            planned, count = self.times[planned], count + 1
        return planned, count


class Foresight:
    """The foreign schedules that this application declares."""

    def __init__(self, url: str, declared: Iterable[Schedule]) -> None:
        self._url = url
        self._asked = {each.name: _Asked(each) for each in declared if isinstance(each.when, Foreign)}
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begins to ask; without foreign schedules there is nothing to do, and no thread."""
        if self._asked:
            threading.Thread(target=self._run, name="foresight", daemon=True).start()

    def stop(self) -> None:
        """Asks no more; a timetable that hangs ends with the process."""
        self._stopping.set()

    def look_ahead(self) -> None:
        """Asks what has to be asked and waits for the answers, for somebody who has not started the thread."""
        deadline = time.monotonic() + HUNG_SECONDS
        while self._asked and time.monotonic() < deadline:
            self._look()
            if not any(each.is_in_hand for each in self._asked.values()):
                return
            time.sleep(0.001)

    def ready(self, now: datetime) -> list[str]:
        """Schedules whose times up to now are known, as far as anybody has seen."""
        return [name for name, asked in self._asked.items() if asked.planned_at and _is_ready(asked, now)]

    def knows(self, row: ScheduleRow, now: datetime) -> bool:
        """Whether a schedule can be decided on that was just read: another scheduler may have moved it meanwhile."""
        asked = self._asked.get(row.name)
        if asked is None or row.kind != Foreign.kind:
            return True
        asked.planned_at = row.planned_at
        return _is_ready(asked, now)

    def asked_before(self, row: ScheduleRow) -> Callable[[datetime], datetime | None] | None:
        """What was asked of a foreign schedule; None: it is none."""
        asked = self._asked.get(row.name)
        return asked.times.__getitem__ if asked is not None and row.kind == Foreign.kind else None

    def completed(self, schedule: Schedule) -> Schedule:
        """With the object of the declaration in place of how it looks."""
        asked = self._asked.get(schedule.name)
        if asked is None or schedule.when != asked.schedule.when:
            return schedule
        return replace(schedule, when=asked.schedule.when)

    def _run(self) -> None:
        while not self._stopping.wait(PAUSE_SECONDS):
            try:
                self._look()
            except PenstockError as error:
                logger.debug("foreign schedules cannot be looked at: %s", error)
            except Exception:  # Whatever it is, these schedules wait for somebody who tries again.
                logger.exception("foreign schedules cannot be looked at")

    def _look(self) -> None:
        """Notes where each schedule is, and has those asked that are not far enough."""
        with reading(self._url) as connection:
            rows = {row.name: row for row in schedules.find_all(connection, self._asked)}
            now = schedules.clock(connection)
        for name, asked in self._asked.items():
            row = rows.get(name)
            if row is None or not _is_ours(row, asked.schedule):
                asked.planned_at = None
                continue
            asked.planned_at = row.planned_at
            if asked.is_in_hand or time.monotonic() < asked.again_at or _is_over(row, asked.schedule):
                continue
            if row.planned_at is not None and _is_known(asked, now + AHEAD):
                continue
            since = time.monotonic() - HUNG_SECONDS
            if sum(each.is_in_hand and each.taken_at > since for each in self._asked.values()) < HANDS:
                asked.is_in_hand, asked.taken_at = True, time.monotonic()
                threading.Thread(target=self._ask, args=(asked, row, now), name=f"ask {name}", daemon=True).start()

    def _ask(self, asked: _Asked, row: ScheduleRow, now: datetime) -> None:
        try:
            if row.planned_at is None:
                self._begin(asked, row, now)
            else:
                _extend(asked, now)
        except PenstockError as error:
            logger.debug("schedule %r waits for the ledger: %s", row.name, error)
        except Exception as error:  # It is somebody else's code.
            asked.again_at = time.monotonic() + AGAIN_SECONDS
            logger.error("schedule %r cannot say when it is due: %s: %s", row.name, type(error).__name__, error)
        finally:
            asked.is_in_hand = False

    def _begin(self, asked: _Asked, row: ScheduleRow, now: datetime) -> None:
        """The first planned time of a schedule that has none yet; another scheduler may have come first."""
        first = asked.schedule.after(now)
        if first is None:
            asked.again_at = float("inf")
            return
        with writing(self._url) as connection:
            found = schedules.lock(connection, row.name)
            if found and found.version == row.version and found.planned_at is None:
                values = {"planned_at": first, "due_at": asked.schedule.due(first)}
                schedules.change(connection, row.name, values, schedules.clock(connection))


def _is_ours(row: ScheduleRow, declared: Schedule) -> bool:
    """Whether the ledger's timetable is the one that is declared here; another release may have declared another."""
    words, stored = declared.words(), row.definition or {}
    return row.kind == Foreign.kind and all(stored.get(each) == words.get(each) for each in PLANNING)


def _is_over(row: ScheduleRow, declared: Schedule) -> bool:
    return row.planned_at is None and declared.max_fires is not None and row.fires >= declared.max_fires


def _is_known(asked: _Asked, until: datetime) -> bool:
    reach, _ = asked.reach()
    return reach is None or asked.schedule.due(reach) > until


def _is_ready(asked: _Asked, now: datetime) -> bool:
    """Whether the times up to now are known, or as many as are decided on at once."""
    _, count = asked.reach()
    return _is_known(asked, now) or count >= planning.MOST


def _extend(asked: _Asked, now: datetime) -> None:
    """Asks on from what is known; what lies behind is forgotten."""
    planned = asked.planned_at
    times = {each: following for each, following in asked.times.items() if planned and each >= planned}
    asked.times = times
    while not _is_known(asked, now + AHEAD) and len(times) < MOST:
        reach, _ = asked.reach()
        assert reach is not None
        times[reach] = asked.schedule.after(reach)
