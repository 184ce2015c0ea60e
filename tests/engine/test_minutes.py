"""What keepers count and measure of queues: in this process with servers, and by real workers."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from penstock.broker import queues
from penstock.engine.keeping import counting
from penstock.engine.keeping.burial import bury_slice
from penstock.engine.keeping.counting import LATE_SECONDS, Counting
from penstock.engine.keeping.depths import Depths
from penstock.engine.keeping.promote import Promote
from penstock.engine.keeping.watch import Watch
from penstock.job import Reason, State
from penstock.ledger.histogram import bucket_of
from penstock.ledger.minutes import Depth
from penstock.ledger.recorder import Recorder
from penstock.ledger.recording.plain import PlainSuccess, Values, told_of
from penstock.ledger.records import Record
from penstock.ledger.rows import Outcome
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import queue_counts, queue_depths
from tests.conftest import NewLedger
from tests.engine.station import POOLS, QUEUE, Station
from tests.ledger.making import SUCCEEDED, delivery, end
from tests.live import wait_for
from tests.outbox.ground import ward

FAILED = Outcome(state=State.FAILED, reason=Reason.ERROR)
RETRIED = Outcome(state=State.SCHEDULED)
CANCELLED = Outcome(state=State.CANCELLED, reason=Reason.REVOKED)
Sums = dict[str, int]


class Ground:
    """A recorder with what counts for it, and a clock that stands still unless it is told."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.url = url
        self.now = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=30)
        monkeypatch.setattr("penstock.engine.keeping.counting.time.time", lambda: self.now.timestamp())
        self.counting = Counting(url)

    def write(self, *records: Record | PlainSuccess, counting: Counting | None = None) -> None:
        Recorder(self.url, (counting or self.counting).count).write(records)

    def pass_minutes(self, minutes: float = 1) -> None:
        """The counts of those that are over are written."""
        self.now += timedelta(minutes=minutes)
        self.counting.perform()

    def ended(self, id: str, outcome: Outcome = SUCCEEDED, queue: str = "mail", **values: Any) -> Record:
        """A job that has run for two seconds, after it had waited for five."""
        started = self.now - timedelta(seconds=2)
        of = {"enqueued_at": started - timedelta(seconds=5), **values}
        return end(delivery(id, queue=queue, token=id, **of), outcome, started_at=started, at=self.now)

    def plain(self, id: str, queue: Any = "mail") -> PlainSuccess:
        """The same as a child hands it over."""
        ended = self.now.timestamp()
        enqueued = datetime.fromtimestamp(ended - 7, UTC).isoformat()
        texts = ("t", queue, "w", id, None, id, None, None, None, 0, None, "[]", "{}", None)
        said, is_accepted = told_of(tuple(Values(id, *texts, enqueued, ended - 2, ended)), by_copy=True)
        return PlainSuccess(id, queue, said, is_accepted=is_accepted, started=ended - 2, ended=ended)


@pytest.fixture
def ground(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(database_url, monkeypatch)


def rows(url: str, table: Any = queue_counts, seconds: int = 60, queue: str = "mail") -> list[Any]:
    """Of one queue, by time."""
    with reading(url) as connection:
        statement = table.select().where(table.c.queue == queue, table.c.seconds == seconds).order_by(table.c.at)
        return list(connection.execute(statement))


def sums(url: str, queue: str = "mail", seconds: int = 60) -> tuple[int, int, int, int]:
    """Succeeded, failed, cancelled, retried."""
    found = rows(url, seconds=seconds, queue=queue)
    names = ("succeeded", "failed", "cancelled", "retried")
    succeeded, failed, cancelled, retried = (sum(getattr(row, name) for row in found) for name in names)
    return succeeded, failed, cancelled, retried


# -- counting -----------------------------------------------------------------------------------------------------


def test_each_end_counts_in_the_minute_in_which_it_was(ground: Ground) -> None:
    ground.write(ground.ended("1"), ground.ended("2", FAILED), ground.ended("3", CANCELLED), ground.ended("4", RETRIED))
    ground.write(ground.plain("5"), ground.ended("6", queue="other"))
    noon = ground.now
    ground.pass_minutes()
    (row,) = rows(ground.url)
    assert (row.at, row.succeeded, row.failed, row.cancelled, row.retried) == (noon, 2, 1, 1, 1)
    assert row.runs == {str(bucket_of(2)): 5}
    assert row.waits == {str(bucket_of(5)): 5}
    assert sums(ground.url, "other") == (1, 0, 0, 0)


def test_a_quarter_of_an_hour_is_what_its_minutes_are(ground: Ground) -> None:
    ground.now = ground.now.replace(minute=15)
    for number in range(3):
        ground.write(ground.ended(str(number)))
        ground.pass_minutes()
    (quarter,) = rows(ground.url, seconds=900)
    assert len(rows(ground.url)) == quarter.succeeded == 3
    assert quarter.at.minute == 15
    assert quarter.runs == {str(bucket_of(2)): 3}


def test_a_minute_is_written_when_it_is_over_and_the_last_at_the_end(ground: Ground) -> None:
    ground.pass_minutes()
    ground.write(ground.ended("1"))
    ground.pass_minutes(0.5)
    assert rows(ground.url) == []
    ground.counting.close()
    assert sums(ground.url) == (1, 0, 0, 0)


def test_what_was_written_before_is_not_counted_again(ground: Ground) -> None:
    """A keeper was killed after it had counted, and the next one finds the same records."""
    record, success = ground.ended("1"), ground.plain("2")
    ground.write(record, success)
    ground.counting.close()
    following = Counting(ground.url)
    ground.write(record, success, counting=following)
    ground.write(ground.ended("3"), counting=following)
    following.close()
    assert sums(ground.url) == (3, 0, 0, 0)
    assert len(rows(ground.url)) == 2


def test_a_late_end_of_a_job_that_has_ended_does_not_count(ground: Ground) -> None:
    ground.write(ground.ended("1"))
    late = ground.ended("1", FAILED)
    ground.write(end(delivery("1", queue="mail", token="other"), FAILED, at=late.at))
    ground.counting.close()
    assert sums(ground.url) == (1, 0, 0, 0)


def test_a_job_that_another_task_replaces_has_not_ended(ground: Ground) -> None:
    queued = Outcome(state=State.QUEUED)
    ground.write(end(delivery("1", queue="mail", token="1"), queued, replaced=True, at=ground.now))
    ground.counting.close()
    assert rows(ground.url) == []


@pytest.mark.parametrize(
    ("values", "waited"),
    [
        ({}, 5),
        ({"eta": timedelta(seconds=-3)}, 1),
        ({"retries": 1, "eta": timedelta(seconds=-3)}, 1),
        ({"retries": 1}, None),
        ({"deliveries": 1}, None),
        ({"enqueued_at": None}, None),
    ],
)
def test_a_wait_begins_when_the_attempt_may_start(ground: Ground, values: dict[str, Any], waited: int | None) -> None:
    if "eta" in values:
        values = {**values, "eta": ground.now + values["eta"]}
    ground.write(ground.ended("1", **values))
    ground.counting.close()
    (row,) = rows(ground.url)
    assert row.waits == ({str(bucket_of(waited)): 1} if waited is not None else {})


def test_of_many_at_once_all_count_and_some_stand_for_the_others(ground: Ground) -> None:
    ground.write(*(ground.plain(str(number)) for number in range(1000)), ground.plain("x", queue="other"))
    ground.counting.close()
    (row,) = rows(ground.url)
    assert row.succeeded == 1000
    for histogram, seconds in ((row.runs, 2), (row.waits, 5)):
        assert histogram.keys() == {str(bucket_of(seconds))}
        assert 950 < histogram[str(bucket_of(seconds))] < 1050
    (other,) = rows(ground.url, queue="other")
    assert (other.succeeded, other.runs) == (1, {str(bucket_of(2)): 1})


def test_a_queue_that_is_no_text_costs_no_other_its_count(ground: Ground) -> None:
    ground.write(ground.plain("1", queue=["mail"]), ground.plain("2"), ground.plain("3", queue=7))
    ground.counting.close()
    assert sums(ground.url) == (1, 0, 0, 0)


def test_an_end_that_comes_late_counts_in_its_own_minute(ground: Ground) -> None:
    ground.write(ground.ended("1"))
    late = ground.ended("2")
    ground.pass_minutes(5)
    ground.write(late)
    ground.pass_minutes()
    (row,) = rows(ground.url)
    assert row.succeeded == 2


def test_an_end_that_comes_too_late_makes_no_row_less(ground: Ground) -> None:
    ground.write(*(ground.ended(str(number)) for number in range(3)))
    late = ground.ended("late")
    ground.pass_minutes()
    ground.pass_minutes(LATE_SECONDS / 60 + 20)
    ground.write(late)
    ground.pass_minutes()
    assert sums(ground.url) == sums(ground.url, seconds=900) == (4, 0, 0, 0)


def test_a_job_that_is_buried_has_failed(ground: Ground, broker_url: str) -> None:
    scripts = ward(broker_url, ground.url).scripts
    raw = json.dumps({"headers": {"id": "1", "task": "t"}, "properties": {}, "body": base64.b64encode(b"no").decode()})
    kept = {"kind": "buried", "queue": "mail", "step": 0, "job": "1", "reason": "r", "deliveries": 3, "raw": raw}
    scripts.client.hset(scripts.keys.dead_entry("e"), mapping={**kept, "at": int(ground.now.timestamp() * 1000)})
    for _ in range(2):
        scripts.client.rpush(scripts.keys.dead, "e")
    assert bury_slice(scripts, ground.url, ground.counting) == 2
    ground.counting.close()
    assert sums(ground.url) == (0, 1, 0, 0)


# -- while SQL is away ----------------------------------------------------------------------------------------------


@pytest.fixture
def away(ground: Ground) -> Ground:
    """Its table is gone for now."""
    rename(ground.url, "queue_counts", "gone")
    return ground


def rename(url: str, table: str, name: str) -> None:
    with writing(url) as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO {name}"))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """How grave is what keepers have said."""
    return [record.levelname for record in caplog.records if record.name == "penstock.keeper"]


def test_minutes_wait_for_the_ledger_and_outcomes_do_not(away: Ground, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        away.write(away.ended(str(number)))
        away.counting.sample({"mail": Depth(number, 0, 0, 0, None, 0, away.now)})
        away.pass_minutes()
    assert said(caplog) == ["WARNING"]
    rename(away.url, "gone", "queue_counts")
    away.pass_minutes()
    assert [row.succeeded for row in rows(away.url)] == [1, 1, 1]
    assert [row.ready for row in rows(away.url, queue_depths)] == [0, 1, 2]


def test_when_too_many_wait_the_oldest_are_given_up_and_that_is_said_once(
    away: Ground, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(counting, "MOST_KEPT", 4)
    for number in range(8):
        away.write(away.ended(str(number)))
        away.counting.sample({"mail": Depth(number, 0, 0, 0, None, 0, away.now)})
        away.pass_minutes()
    assert said(caplog).count("ERROR") == 1
    rename(away.url, "gone", "queue_counts")
    away.pass_minutes()
    assert 1 <= len(rows(away.url)) <= 4
    assert [row.ready for row in rows(away.url, queue_depths)][-1] == 7


def test_minutes_that_are_written_and_forgotten_are_not_called_given_up(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(counting, "MOST_KEPT", 4)
    for number in range(8):
        ground.write(ground.ended(str(number)))
        ground.pass_minutes()
    assert said(caplog) == []
    assert [row.succeeded for row in rows(ground.url)] == [1] * 8


def test_what_no_database_takes_is_given_up_and_the_next_is_written(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    strange: Any = object()
    ground.counting.sample({"mail": Depth(strange, 0, 0, 0, None, 0, ground.now)})
    ground.pass_minutes()
    ground.counting.sample({"mail": Depth(1, 0, 0, 0, None, 0, ground.now)})
    ground.pass_minutes()
    assert said(caplog) == ["ERROR"]
    assert [row.ready for row in rows(ground.url, queue_depths)] == [1]


def test_an_error_of_counting_costs_no_outcome(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "_count_end", lambda *_: 1 // 0)
    ground.write(ground.ended("1"))
    with reading(ground.url) as connection:
        assert connection.execute(text("SELECT state FROM jobs")).scalar_one() == "succeeded"


# -- depths ---------------------------------------------------------------------------------------------------------


class Measuring:
    """A keeper's measuring of depths, every time anew."""

    def __init__(self, broker_url: str, database_url: str) -> None:
        self.url = database_url
        self.ward = ward(broker_url, database_url)
        self.watch, self.promote = Watch(self.ward), Promote(self.ward)
        self.watch.perform()
        self.counting = Counting(database_url)

    def measure(self) -> None:
        """As at the beginning of a minute."""
        Depths(self.ward, self.watch, self.promote, self.counting).perform()
        self.counting.perform()


@pytest.fixture
def measuring(broker_url: str, database_url: str) -> Iterator[Measuring]:
    made = Measuring(broker_url, database_url)
    yield made
    made.ward.queues.clear()
    made.watch._elected = 0.0
    made.watch.perform()  # Lets go of its connections.


def test_a_queue_that_is_watched_is_measured_once_in_a_minute(measuring: Measuring) -> None:
    depths = Depths(measuring.ward, measuring.watch, measuring.promote, measuring.counting, length=86_400)
    for _ in range(3):
        depths.perform()
    measuring.ward.scripts.client.hset(measuring.ward.scripts.keys.tally, "accepted:mail", 41)
    measuring.counting.perform()
    assert [row.ready for row in rows(measuring.url, queue_depths)] == [0]
    assert [row.accepted for row in rows(measuring.url, queue_depths)] == [0]


def test_what_a_queue_has_accepted_is_measured_with_it(measuring: Measuring) -> None:
    measuring.ward.scripts.client.hset(measuring.ward.scripts.keys.tally, "accepted:mail", 41)
    measuring.measure()
    assert [row.accepted for row in rows(measuring.url, queue_depths)] == [41]


def test_queues_that_nobody_serves_are_measured_if_something_is_in_them(measuring: Measuring) -> None:
    client, keys = measuring.ward.scripts.client, measuring.ward.scripts.keys
    client.sadd(keys.queues, "empty", "unserved")
    client.lpush("unserved", b"1", b"2")
    measuring.measure()
    assert rows(measuring.url, queue_depths, queue="unserved") == []
    measuring.promote.perform()
    measuring.measure()
    assert [row.ready for row in rows(measuring.url, queue_depths, queue="unserved")] == [2]
    assert rows(measuring.url, queue_depths, queue="empty") == []


def test_what_cannot_be_read_in_redis_leaves_a_gap_and_a_keeper(
    measuring: Measuring, caplog: pytest.LogCaptureFixture
) -> None:
    client, keys = measuring.ward.scripts.client, measuring.ward.scripts.keys
    client.hset(keys.gates, "mail", "no JSON")
    measuring.measure()
    assert said(caplog) == ["ERROR"]
    client.delete(keys.gates)
    measuring.measure()
    assert len(rows(measuring.url, queue_depths)) == 1


def test_each_minute_is_measured_anew(measuring: Measuring) -> None:
    counting = Counting(measuring.url, length=1)
    depths = Depths(measuring.ward, measuring.watch, measuring.promote, counting, length=1)

    def measured() -> list[Any]:
        depths.perform()
        counting.perform()
        return rows(measuring.url, queue_depths, seconds=1)

    wait_for(lambda: len(measured()) == 3, "three seconds have rows")
    assert len(rows(measuring.url, queue_depths, seconds=15)) <= 2


# -- real workers ---------------------------------------------------------------------------------------------------


@pytest.fixture
def served(new_ledger: NewLedger, tmp_path: Path) -> Iterator[Station]:
    """A Redis and a ledger that no other test has written to."""
    with new_ledger("sqlite") as ledger, Station(tmp_path / "station", ledger=ledger) as made:
        yield made


def run(station: Station, jobs: int) -> None:
    """So many more."""
    before = ended(station)
    for _ in range(jobs):
        station.send("nothing")
    wait_for(lambda: ended(station) == before + jobs, "all have ended")


def ended(station: Station) -> int:
    with reading(station.ledger) as connection:
        return int(connection.execute(text("SELECT count(*) FROM jobs WHERE state = 'succeeded'")).scalar_one())


def depths_of(station: Station) -> list[Any]:
    return rows(station.ledger, queue_depths, queue=QUEUE)


def last_counts(station: Station) -> list[Any]:
    """When the keeper has ended, which is after its worker."""
    return wait_for(lambda: rows(station.ledger, queue=QUEUE), "its last minute is written")


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_leaves_rows_of_what_it_has_run_and_of_what_waits(served: Station, pool: str) -> None:
    with served.worker("-P", pool):
        run(served, 20)
        wait_for(lambda: depths_of(served), "its queue was measured")
    found = last_counts(served)
    assert sum(row.succeeded for row in found) == 20
    assert sum(sum(row.runs.values()) for row in found) == 20
    assert sum(sum(row.waits.values()) for row in found) == 20
    assert depths_of(served)[-1].accepted <= 20


def test_in_a_paused_queue_depth_and_age_grow(served: Station) -> None:
    where = ward(served.server.url, served.ledger)
    watch, counting = Watch(where), Counting(served.ledger, length=1)
    watch.watched = [QUEUE]
    depths = Depths(where, watch, Promote(where), counting, length=1)

    def measured(ready: int) -> Any:
        depths.perform()
        counting.perform()
        found = rows(served.ledger, queue_depths, seconds=1, queue=QUEUE)
        return found[-1] if found and found[-1].ready == ready else None

    queues.pause(served.scripts, QUEUE, "tests")
    with served.worker():
        for jobs in (2, 5):
            while served.redis.llen(QUEUE) < jobs:
                served.send("nothing")
            wait_for(lambda jobs=jobs: measured(jobs), f"{jobs} jobs are seen to wait")
        early = wait_for(lambda: measured(5), "the queue is measured")
        late = wait_for(lambda: (row := measured(5)) and row.at > early.at and row, "it is measured in another second")
        assert late.oldest_seconds > early.oldest_seconds > 0
        assert late.accepted == 5
        assert ended(served) == 0
        queues.resume(served.scripts, QUEUE)


@pytest.mark.parametrize("pool", POOLS)
def test_a_keeper_that_is_killed_loses_a_minute_at_the_most_and_nothing_counts_twice(
    served: Station, pool: str
) -> None:
    with served.worker("-P", pool) as worker:
        run(served, 20)
        os.kill(worker.keeper, signal.SIGKILL)
        run(served, 30)
    assert 30 <= sum(row.succeeded for row in last_counts(served)) <= 50


def test_a_worker_whose_ledger_lacks_the_tables_for_a_while_writes_what_it_has_counted(served: Station) -> None:
    rename(served.ledger, "queue_depths", "gone")
    with served.worker() as worker:
        run(served, 20)
        wait_for(lambda: "the history of queues is written later" in worker.log, "it says so")
        run(served, 10)
        rename(served.ledger, "gone", "queue_depths")
        wait_for(lambda: depths_of(served), "what was measured is written")
    assert sum(row.succeeded for row in last_counts(served)) == 30
