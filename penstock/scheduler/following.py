"""What comes after a fire's job: failures are counted, and fires that waited for its end start."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy import Connection

from penstock.errors import DeclarationError, PenstockError
from penstock.job import State
from penstock.ledger import fires, queries, schedules
from penstock.ledger.fires import Ended, FireRow, FireState, Origin
from penstock.ledger.recording.outbox import insert_follow_ups
from penstock.ledger.records import FollowUp
from penstock.ledger.schedules import ScheduleRow
from penstock.scheduler.firing import telling_of_missed
from penstock.scheduler.schedule import Schedule
from penstock.scheduler.sending import message_of

logger = logging.getLogger("penstock.beat")
BATCH = 500


class Following:
    """Looks again and again at the jobs of fires; any number of schedulers may."""

    def __init__(self, app: Any, name: str) -> None:
        """Args:
        name: of this scheduler, for the audit.
        """
        self._app = app
        self._name = name
        self._cancelling: threading.Thread | None = None

    def look(self, connection: Connection, eyes: Connection) -> list[FollowUp]:
        """Notes jobs that have ended and starts what waited for them; the messages to be published now.

        Args:
            eyes: another connection, which is in no transaction.
        """
        with eyes.begin():
            ended = fires.ended(eyes, BATCH)
            waiting = fires.with_waiting(eyes)
        if ended:
            self._note(connection, ended)
        if not waiting:
            return []
        with eyes.begin():
            free = fires.free_with_waiting(eyes, BATCH)
        messages = self._release(connection, free) if free else []
        if busy := [name for name, has_planned in waiting.items() if has_planned and name not in free]:
            self._cancel_others(eyes, busy)
        return messages

    # -- jobs that have ended -------------------------------------------------------------------------------------

    def _note(self, connection: Connection, ended: Sequence[Ended]) -> None:
        with connection.begin():
            schedules.begin(connection)
            names = {each.schedule for each in ended}
            rows = {row.name: row for row in schedules.lock_free(connection, names)}
            gone = {name for name in names - rows.keys() if schedules.find(connection, name) is None}
            noted = fires.follow_no_more(connection, [each for each in ended if each.schedule in rows.keys() | gone])
            for name, row in rows.items():
                self._count(connection, row, [each for each in noted if each.schedule == name])

    def _count(self, connection: Connection, row: ScheduleRow, ended: Sequence[Ended]) -> None:
        """Counts failures in a row. A job that was cancelled is neither; nor is one whose row is gone."""
        failures, error = row.failures, None
        for each in ended:
            if each.state is State.SUCCEEDED:
                failures = 0
            elif each.state is State.FAILED:
                failures, error = failures + 1, each
        if failures == row.failures and error is None:
            return
        values: dict[str, Any] = {"failures": failures}
        now = schedules.clock(connection)
        if error and row.paused_at is None and self._is_too_much(row, failures):
            several = f"{failures} jobs in a row have failed, the last one, {error.job_id}, with {error.error}"
            note = several if failures > 1 else f"job {error.job_id} has failed with {error.error}"
            values |= {"paused_at": now, "paused_by": self._name, "pause_note": note}
            details = {"schedule": row.name, "note": note}
            queries.add_audit(
                connection, actor=self._name, action="pause schedule", job_id=error.job_id, details=details
            )
            logger.warning("schedule %r is paused: %s", row.name, note)
        schedules.change(connection, row.name, values, now)

    def _is_too_much(self, row: ScheduleRow, failures: int) -> bool:
        limit = (row.definition or {}).get("pause_after_failures")
        return limit is not None and failures >= limit

    # -- fires that wait ------------------------------------------------------------------------------------------

    def _release(self, connection: Connection, names: Sequence[str]) -> list[FollowUp]:
        """Starts the oldest fire that waits of each schedule that is still free."""
        messages = list[FollowUp]()
        with connection.begin():
            now = schedules.begin(connection)
            rows = schedules.lock_free(connection, names)
            still_busy = fires.busy(connection, [row.name for row in rows])
            for row in rows:
                if row.name not in still_busy:
                    messages += self._start_waiting(connection, row, now)
            insert_follow_ups(connection, messages)
        return messages

    def _start_waiting(self, connection: Connection, row: ScheduleRow, now: datetime) -> list[FollowUp]:
        try:
            schedule = Schedule.of(row.name, row.definition or {})
        except DeclarationError as error:
            logger.debug("%s; it is left to newer schedulers", error)
            return []
        if row.paused_at is not None:
            # What is made up for waits for the end of the pause.
            reason = f"paused: {row.pause_note}" if row.pause_note else "paused"
            skipped = fires.skip_waiting(connection, [row.name], reason, now, Origin.PLANNED)
            _give_back(connection, row, schedule, skipped, now)
            return []
        waiting = fires.first_waiting(connection, row.name, planned_first=schedule.overlap == "cancel other")
        if waiting is None:
            return []
        previous = fires.fired_before(connection, row.name, waiting.planned_at)
        fire, messages = self._started(schedule, waiting, previous, now)
        if not fires.decide(connection, fire):
            return []
        if fire.state is FireState.FIRED:
            latest = max(filter(None, (row.previous_at, fire.planned_at)))
            schedules.change(connection, row.name, {"previous_at": latest}, now)
        elif fire.origin is Origin.PLANNED:
            _give_back(connection, row, schedule, 1, now)
        return messages

    def _started(
        self, schedule: Schedule, waiting: FireRow, previous: datetime | None, now: datetime
    ) -> tuple[FireRow, list[FollowUp]]:
        try:
            message = message_of(self._app, schedule, waiting.planned_at, previous)
        except Exception as error:
            logger.error("schedule %r: no job can be made: %s", schedule.name, error)
            reason = f"error: {type(error).__name__}: {error}"
            missed = replace(waiting, state=FireState.MISSED, reason=reason, decided_at=now)
            return missed, telling_of_missed(self._app, schedule, [missed])
        fired = replace(waiting, state=FireState.FIRED, reason=None, job_id=message.job_id, decided_at=now)
        # Followed whatever the schedule says: others may wait behind it.
        return replace(fired, is_followed=True), [message]

    def _cancel_others(self, eyes: Connection, names: Sequence[str]) -> None:
        """Asks again and again, until the job has ended: Redis or the job's worker may be away just now.

        What is made up for is left to end by itself: all of it would be cancelled, one after the other.
        """
        with eyes.begin():
            rows = schedules.find_all(eyes, names)
            cancelling = [
                row.name
                for row in rows
                if row.paused_at is None and (row.definition or {}).get("overlap") == "cancel other"
            ]
            jobs = fires.cancellable_jobs(eyes, cancelling) if cancelling else []
        if jobs and not (self._cancelling and self._cancelling.is_alive()):
            # Celery takes seconds to give up a broker that is away, and other schedules do not wait for it.
            self._cancelling = threading.Thread(target=self._cancel, args=(jobs,), name="cancelling", daemon=True)
            self._cancelling.start()

    def _cancel(self, jobs: Sequence[str]) -> None:
        try:
            self._app.control.revoke(jobs, terminate=True, signal="SIGTERM")
        except (RedisError, OperationalError, OSError, PenstockError) as error:
            logger.debug("jobs cannot be cancelled just now: %s", error)


def _give_back(connection: Connection, row: ScheduleRow, schedule: Schedule, count: int, now: datetime) -> None:
    """Fires that waited and have started nothing do not count to the most; a schedule that was over goes on."""
    if not count:
        return
    values: dict[str, Any] = {"fires": row.fires - count}
    if row.planned_at is None and schedule.max_fires is not None and row.kind != schedules.FOREIGN:
        planned = schedule.after(now)
        values |= {"planned_at": planned, "due_at": schedule.due(planned) if planned else None}
    schedules.change(connection, row.name, values, now)
