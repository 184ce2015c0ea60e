"""From times that are due to jobs: one transaction for a batch of schedules.

The rows of the schedules are locked, so that of any number of schedulers one decides on a planned time; the fire's
primary key says so once more. Its row, the job's message in the outbox, and the schedule's next time are there from the
same COMMIT on. A scheduler that dies before it has done nothing; one that dies after it leaves nothing undone: the
message is published by the reconciler of a worker's keeper.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection

from penstock.ledger import fires, schedules
from penstock.ledger.fires import FireRow, FireState, Origin
from penstock.ledger.recording.outbox import insert_first_messages
from penstock.ledger.records import FollowUp
from penstock.ledger.schedules import ScheduleRow
from penstock.scheduler.foresight import Foresight
from penstock.scheduler.known import Known
from penstock.scheduler.planning import GRACE, MOST, NEWER, Decision, Standing, plan
from penstock.scheduler.schedule import Schedule
from penstock.scheduler.sending import message_of, message_of_missed

logger = logging.getLogger("penstock.beat")
BATCH = 500
"""Schedules of one transaction."""
TOLD = 3
"""Reasons of fires that were missed together."""
LATE_BATCH, MOST_AT_ONCE = 100, 50
"""Of those that are late for longer, and times of one schedule that are then decided on."""
DECIDE_SECONDS = 1.0
After = Callable[[datetime], datetime | None]
Put = Callable[[Connection, Sequence[FollowUp]], None]


def is_followed(schedule: Schedule) -> bool:
    """Whether the ends of its jobs have consequences."""
    return schedule.overlap != "allow" or schedule.pause_after_failures is not None


@dataclass
class Decided:
    """What is to be written of one schedule."""

    row: ScheduleRow
    schedule: Schedule
    fires: list[FireRow] = field(default_factory=list)
    messages: dict[datetime, FollowUp] = field(default_factory=dict)
    """By planned time."""
    further: list[FollowUp] = field(default_factory=list)
    """Messages that belong to no fire."""
    standing: Standing = Standing(None)
    drops_waiting: bool = False
    previous_at: datetime | None = None

    def progress(self) -> dict[str, Any]:
        """How far the schedule is then, as columns of its row."""
        planned = self.standing.planned_at
        return {
            "name": self.row.name,
            "planned_at": planned,
            "due_at": self.standing.due_at if planned else None,
            "previous_at": self.previous_at,
            "fires": self.standing.fires,
        }


def standing_of(row: ScheduleRow, *, is_busy: bool, waiting: int) -> Standing:
    """How far a schedule is."""
    pause = (row.pause_note or "") if row.paused_at else None
    return Standing(row.planned_at, row.fires, pause, is_busy, waiting, row.due_at)


def decide(
    app: Any,
    row: ScheduleRow,
    schedule: Schedule,
    standing: Standing,
    now: datetime,
    after: After | None = None,
    most: int = MOST,
) -> Decided:
    """Decides on the times of one schedule that are due, and makes the messages of its jobs."""
    decided = Decided(row, schedule, previous_at=row.previous_at)
    planned = plan(schedule, standing, now, after, most, partial(_begin, app, decided))
    decided.standing, decided.drops_waiting = planned.standing, planned.drops_waiting
    decided.fires = [_fire(decided, decision, now) for decision in planned.decisions]
    decided.further = telling_of_missed(
        app, schedule, [fire for fire in decided.fires if fire.state is FireState.MISSED]
    )
    return decided


def telling_of_missed(app: Any, schedule: Schedule, missed: Sequence[FireRow]) -> list[FollowUp]:
    """The message that tells of fires that were missed, if there are any and somebody wants to know."""
    if not missed or schedule.on_missed is None:
        return []
    reasons = list(dict.fromkeys(fire.reason or "" for fire in missed))
    more = [f"and {len(reasons) - TOLD} more"] if len(reasons) > TOLD else []
    try:
        return [
            message_of_missed(app, schedule, [fire.planned_at for fire in missed], "; ".join([*reasons[:TOLD], *more]))
        ]
    except Exception as error:
        logger.error("schedule %r: its on_missed cannot be told: %s", schedule.name, error)
        return []


def _begin(app: Any, decided: Decided, planned_at: datetime) -> str | None:
    """Makes the message of a fire's job; why there can be none."""
    try:
        message = message_of(app, decided.schedule, planned_at, decided.previous_at)
    except Exception as error:  # What is wrong with one call keeps no other from its time, and is on the books.
        logger.error("schedule %r: no job can be made: %s", decided.schedule.name, error)
        return f"error: {type(error).__name__}: {error}"
    decided.messages[planned_at], decided.previous_at = message, planned_at
    return None


def _fire(decided: Decided, decision: Decision, now: datetime) -> FireRow:
    has_fired = decision.state is FireState.FIRED
    return FireRow(
        schedule=decided.row.name,
        planned_at=decision.planned_at,
        origin=Origin.PLANNED,
        state=decision.state,
        reason=decision.reason,
        job_id=decided.messages[decision.planned_at].job_id if has_fired else None,
        decided_at=now,
        is_followed=has_fired and is_followed(decided.schedule),
    )


def write(
    connection: Connection, decided: Sequence[Decided], now: datetime, put: Put = insert_first_messages
) -> list[FollowUp]:
    """Writes what was decided; the messages that are to be published after the commit.

    A fire whose row is there already, whoever has made it, has had its job: it gets none here.

    Args:
        put: inserts messages into the outbox; as published, unless the caller leaves that to the relay.
    """
    dropping = [each.row.name for each in decided if each.drops_waiting]
    if dropping:
        fires.skip_waiting(connection, dropping, NEWER, now, Origin.PLANNED)
    ours = fires.insert(connection, [fire for each in decided for fire in each.fires])
    messages = [
        message
        for each in decided
        for planned_at, message in each.messages.items()
        if (each.row.name, planned_at) in ours
    ]
    messages += [message for each in decided for message in each.further]
    put(connection, messages)
    schedules.move_on(connection, [each.progress() for each in decided])
    return messages


class Firing:
    """One scheduler's part of the work."""

    def __init__(self, app: Any, foresight: Foresight) -> None:
        self._app = app
        self._foresight = foresight
        self.known = Known(foresight)

    def fire_due(self, connection: Connection) -> tuple[int, list[FollowUp]]:
        """Decides on what is due, in one transaction; on how many schedules, and the messages to be published now."""
        with connection.begin():
            now = schedules.begin(connection)
            rows = self._take(connection, now)
            readable = self.known.read(connection, [row for row in rows if self._foresight.knows(row, now)])
            decided = list(self._decide(connection, readable, now))
            messages = write(connection, decided, now)
        return len(decided), messages

    def _take(self, connection: Connection, now: datetime) -> list[ScheduleRow]:
        """Those that are due now before those that are late, so that an outage delays nobody when it is over."""
        ready, late = self._foresight.ready(now), now - GRACE
        rows = schedules.take_due(connection, now, BATCH, ready, self.known.refused, since=late)
        return rows + schedules.take_due(connection, late, LATE_BATCH, ready, self.known.refused)

    def _decide(
        self, connection: Connection, readable: Sequence[tuple[ScheduleRow, Schedule]], now: datetime
    ) -> Iterator[Decided]:
        """As far as it comes in a moment: locks are held meanwhile. The others stay due."""
        ruled = [row.name for row, schedule in readable if schedule.overlap != "allow"]
        busy = fires.busy(connection, ruled) if ruled else set()
        waiting = fires.waiting(connection, ruled) if ruled else {}
        deadline = time.monotonic() + DECIDE_SECONDS
        for row, schedule in readable:
            standing = standing_of(row, is_busy=row.name in busy, waiting=waiting.get(row.name, 0))
            try:
                yield decide(self._app, row, schedule, standing, now, self._foresight.asked_before(row), MOST_AT_ONCE)
            except Exception as error:  # One timetable that fails keeps no other from its time.
                logger.error("schedule %r cannot be decided on: %s: %s", row.name, type(error).__name__, error)
                self.known.refuse(row)
            if time.monotonic() > deadline:
                return
