"""One scheduler's life, and several that share one ledger."""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis
from sqlalchemy.exc import SQLAlchemyError

from penstock.broker.keys import Keys
from penstock.ledger import schedules, schema
from penstock.ledger.session import close_all, reading, writing
from penstock.scheduler import Every, firing, turning
from penstock.scheduler.turning import Turning
from tests.conftest import deployment, producer
from tests.faults.postgres import OURS, Postgres, own_server
from tests.live import wait_for
from tests.scheduler.ground import BROKEN, NAME, Ground, foreign, planned, statements, sums

T = TypeVar("T")
UNREADABLE = {"task": "tests.jobs.add", "when": {"kind": "sundial"}}
QUARTER = timedelta(seconds=0.25)


def queued(broker: redis.Redis, queue: str = "default") -> int:
    """Messages that are ready."""
    return int(broker.llen(Keys().ready(queue, 0)))


def after_a_turn(mine: Turning, question: Callable[[], T]) -> T:
    """What is true then."""
    mine.turn()
    return question()


# -- one --------------------------------------------------------------------------------------------------------------


def test_the_first_turn_brings_what_is_declared_into_the_ledger(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "penstock.beat")
    ground.add(sums("gone"), since=1, by="tests")
    mine = ground.turning(*(sums(f"schedule {number:02}") for number in range(12)))
    mine.turn()
    assert ground.names == [f"schedule {number:02}" for number in range(12)]
    assert next(each for each in caplog.messages if "schedule 00" in each).endswith("schedule 09 and 2 more")
    assert "schedules removed: gone" in caplog.messages


def test_what_is_due_is_on_its_queue_at_once(ground: Ground, broker: redis.Redis) -> None:
    ground.add(ground.sums())
    ground.turning().turn()
    assert ground.states() == ["fired"]
    wait_for(lambda: queued(broker) == 1, "it is published")


def test_jobs_that_have_ended_are_looked_at(ground: Ground) -> None:
    ground.add(ground.sums())
    mine = ground.turning()
    mine.turn()
    ground.end_all(BROKEN)
    wait_for(lambda: after_a_turn(mine, lambda: ground.row().failures), "its failure is counted")


def test_it_sleeps_until_the_next_is_due(ground: Ground) -> None:
    mine = ground.turning()
    mine.turn()
    ground.add(ground.sums(), since=None)
    for ahead, least, most in ((0.3, 0.0, 0.3), (60.0, 0.5, 0.5)):
        due = datetime.now(UTC) + timedelta(seconds=ahead)
        ground.set(planned_at=due, due_at=due)
        assert least <= mine._work() <= most


def test_a_full_batch_is_followed_by_the_next_without_a_pause(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firing, "BATCH", 1)
    ground.add(ground.sums("a"), ground.sums("b"))
    mine = ground.turning()
    assert [mine._work(), mine._work()] == [0.0, 0.0]
    assert (ground.states("a"), ground.states("b")) == (["fired"], ["fired"])


def turns(mine: Turning, seconds: float = 1.2) -> int:
    """How often it turns in such a time."""
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        mine.turn()
        count += 1
    return count


def test_a_ledger_without_schedules_keeps_nobody_busy(ground: Ground) -> None:
    assert turns(ground.turning()) < 6


@pytest.mark.parametrize("columns", [{"definition": UNREADABLE}, {"kind": "celery"}])
def test_what_it_must_leave_to_others_keeps_it_from_nothing_and_not_busy(
    ground: Ground, columns: dict[str, Any]
) -> None:
    ground.add(ground.sums("others"), **columns)
    ground.add(ground.sums())
    assert turns(ground.turning()) < 8
    assert (ground.states("others"), ground.states()) == ([], ["fired"])


def test_a_timetable_that_hangs_keeps_it_not_busy(ground: Ground) -> None:
    made = foreign(3600, lambda: time.sleep(3))
    ground.add(made, by="tests")
    ground.app.conf.timezone = "UTC"
    assert turns(ground.turning(made)) < 8


def test_what_somebody_else_has_keeps_it_from_nothing_and_not_busy(postgresql_ground: Ground) -> None:
    ground = postgresql_ground
    ground.add(ground.sums("held"), ground.sums())
    mine = ground.turning()
    with ground.held("held"):
        assert turns(mine) < 8
        assert (ground.states("held"), ground.states()) == ([], ["fired"])
    mine.turn()
    assert ground.states("held") == ["fired"]


def test_what_it_could_not_read_is_tried_again_from_time_to_time(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turning, "RECONSIDER_SECONDS", 0.0)
    ground.add(ground.sums(), definition=UNREADABLE)
    mine = ground.turning()
    mine.turn()
    ground.set(definition=ground.sums().words(), version=2)
    wait_for(lambda: after_a_turn(mine, lambda: ground.states()) == ["fired"], "it fires")


# -- several ----------------------------------------------------------------------------------------------------------


def test_several_share_the_work_and_no_fire_comes_twice_or_is_lost(ground: Ground, broker: redis.Redis) -> None:
    start = datetime.now(UTC) + timedelta(seconds=1)
    names = [f"schedule {number}" for number in range(12)]
    declared = [
        sums(name, when=Every(0.25), start=start, end=start + timedelta(seconds=3), overlap="allow") for name in names
    ]
    ground.reconcile(*declared)
    ground.let_turn(*(ground.turning(*declared) for _ in range(3)))
    wait_for(lambda: all(ground.row(name).planned_at is None for name in names), "all are over", 40)
    jobs = [fire.job_id for name in names for fire in ground.fires(name)]
    for each in declared:
        times, following = list[datetime](), each.after(start - QUARTER)
        while following is not None:
            times.append(following)
            following = each.after(following)
        assert planned(ground.fires(each.name)) == times
        assert set(ground.states(each.name)) == {"fired"}
    assert sorted(str(message.headers["id"]) for message in ground.messages) == sorted(map(str, jobs))
    wait_for(lambda: queued(broker) == len(jobs), "all are published, each once")


def test_several_that_look_after_jobs_start_what_waits_once(ground: Ground) -> None:
    ground.add(ground.sums(overlap="buffer all"), since=1)
    ground.changes.backfill(NAME, ground.hour(-5))
    ground.let_turn(*(ground.turning() for _ in range(3)))
    for number in range(1, 7):
        wait_for(lambda number=number: ground.states().count("fired") == number, f"fire {number} starts", 20)  # type: ignore[misc]
        assert len(ground.messages) == 1
        ground.end_all()


# -- notes ------------------------------------------------------------------------------------------------------------


def beats(ground: Ground) -> dict[str, datetime]:
    with reading(ground.url) as connection:
        return {row.name: row.seen_at for row in schedules.list_beats(connection)}


def test_it_says_that_it_is_there_again_and_again(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turning, "SEEN_SECONDS", 0.0)
    mine = ground.turning()
    mine.turn()
    first = beats(ground)[mine.name]
    mine.turn()
    assert beats(ground)[mine.name] > first


def test_it_says_good_bye(ground: Ground) -> None:
    mine = ground.turning()
    mine.turn()
    mine.end()
    assert beats(ground) == {}


def test_those_that_were_not_seen_for_an_hour_are_forgotten(ground: Ground) -> None:
    now = datetime.now(UTC)
    with writing(ground.url) as connection:
        for name, minutes in (("away", 59), ("gone", 61)):
            schedules.note_beat(connection, name, now, now - timedelta(minutes=minutes))
    mine = ground.turning()
    mine.turn()
    assert beats(ground).keys() == {"away", mine.name}


# -- a ledger that is away --------------------------------------------------------------------------------------------


def test_a_ledger_without_tables_is_waited_for(
    broker_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "penstock.beat")
    url = f"sqlite:///{tmp_path}/empty.db"
    with producer(deployment(broker_url, url, tmp_path)) as app, Ground(app) as ground:
        mine = ground.turning(sums())
        for _ in range(3):
            mine.turn()
        schema.upgrade(url)
        mine.turn()
        assert ground.names == [NAME]
    assert [each.split(":")[0] for each in caplog.messages] == [
        "schedules wait",
        "schedules added",
        "the ledger answers again",
    ]
    assert "ledger upgrade" in caplog.text


def test_a_connection_that_the_server_has_closed_is_opened_again(postgresql_ground: Ground) -> None:
    ground = postgresql_ground
    mine = ground.turning()
    mine.turn()
    with reading(ground.url) as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    close_all()
    ground.add(ground.sums())
    wait_for(lambda: after_a_turn(mine, lambda: ground.states()) == ["fired"], "it goes on")


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server of our own, to be stopped."""
    with own_server() as server:
        yield server


def test_a_server_that_is_down_is_waited_for_and_what_was_due_meanwhile_is_decided(
    server: Postgres, broker_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "penstock.beat")
    with producer(deployment(broker_url, server.url(OURS), tmp_path)) as app, Ground(app) as ground:
        made = sums(when=Every(0.25), overlap="allow", end=datetime.now(UTC) + timedelta(seconds=60))
        mine = ground.turning(made)
        mine.turn()
        ground.let_turn(mine)
        wait_for(ground.fires, "it fires")
        server.stop()
        wait_for(lambda: "schedules wait" in caplog.text, "it has noticed")
        server.start()
        close_all()
        down = datetime.now(UTC)
        wait_for(lambda: "the ledger answers again" in caplog.text, "it goes on")
        wait_for(lambda: planned(ground.fires())[-1] > down, "it has caught up")
        times = planned(ground.fires())
        assert {after - before for before, after in pairwise(times)} == {QUARTER}
        assert set(ground.states()) == {"fired"}
    assert len([each for each in caplog.messages if each.startswith("schedules wait")]) == 1


def test_an_error_that_nobody_expected_is_shown_whole_and_it_goes_on(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ground.add(ground.sums())
    mine = ground.turning()
    with monkeypatch.context() as patch:
        patch.setattr(mine._firing, "fire_due", lambda _: 1 / 0)
        mine.turn()
        mine.turn()
    (record,) = caplog.records
    assert record.exc_info is not None
    mine.turn()
    assert ground.states() == ["fired"]


def test_it_ends_though_the_ledger_is_away(ground: Ground) -> None:
    mine = ground.turning()
    mine.turn()
    assert mine._connection is not None
    mine._connection.connection.dbapi_connection.close()  # type: ignore[union-attr]
    mine.end()
    assert mine._connection is None


def test_it_ends_in_the_middle_of_a_turn(ground: Ground) -> None:
    """Celery's handler of SIGTERM calls in the middle of whatever happens, and nothing of it stays."""
    ground.add(ground.sums())
    mine = ground.turning()
    mine.turn()
    assert mine._connection is not None
    mine._connection.begin()
    schedules.change(mine._connection, NAME, {"fires": 77}, datetime.now(UTC))
    mine.end()
    assert ground.row().fires == 1


def test_whoever_stops_in_the_middle_of_a_transaction_does_not_keep_its_locks(
    postgresql_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped, or that is on a host that is gone; another scheduler takes over."""
    ground = postgresql_ground
    monkeypatch.setattr(schedules, "IDLE_LIMIT_MS", 200)
    ground.add(ground.sums())
    write = firing.write

    def stopped(*given: Any) -> Any:
        monkeypatch.setattr(firing, "write", write)
        wait_for(lambda: [ground.fire_due(), ground.states()][1] == ["fired"], "somebody else has taken over", 5)
        return write(*given)

    monkeypatch.setattr(firing, "write", stopped)
    with pytest.raises(SQLAlchemyError):
        ground.fire_due()
    assert (ground.states(), len(ground.messages)) == (["fired"], 1)


def test_the_statements_of_a_quiet_turn_are_few(ground: Ground) -> None:
    """However many schedules there are: so many turns there are for nothing."""
    ground.add(*(ground.sums(f"{number}") for number in range(50)), since=1)
    mine = ground.turning()
    mine.turn()
    mine._follow_at = mine._seen_at = time.monotonic() + 60
    with statements(ground.url) as seen:
        mine._work()
    assert len([each for each in seen if not each.startswith("BEGIN")]) <= 2
