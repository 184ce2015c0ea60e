"""Schedules in words, and timetables of somebody else's that are asked."""

import threading
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from penstock.errors import LedgerUnavailable, ScheduleRefused
from penstock.ledger.schedules import ScheduleRow
from penstock.operations import schedules
from penstock.operations.schedules import Phase, Questions, meaning_of, phase_of, phase_text, rules, with_shifts
from penstock.scheduler import At, Cron, Every, Schedule
from penstock.scheduler.changes import Backfill, Known
from penstock.scheduler.forecast import planned_times

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def row(name: str = "a", due: float | None = 1, **values: Any) -> ScheduleRow:
    """A schedule that is due so many minutes after noon."""
    at = None if due is None else NOON + due * MINUTE
    fixed: dict[str, Any] = dict.fromkeys(("declared_by", "previous_at", "paused_at", "paused_by", "pause_note"))
    fixed |= {"kind": "cron", "version": 1, "fires": 0, "failures": 0, "created_at": NOON, "updated_at": NOON}
    return ScheduleRow(**{"name": name, "planned_at": at, "due_at": at, **fixed, **values})


def made(**values: Any) -> Schedule:
    return Schedule(**{"name": "a", "task": "t", "when": Every(60), **values})


@pytest.mark.parametrize(
    ("given", "phase", "text"),
    [
        (row(due=5), Phase.PLANNED, "in 5m"),
        (row(due=-0.1), Phase.PLANNED, "6s ago"),
        (row(due=-5), Phase.LATE, "5m overdue"),
        (row(due=-5, paused_at=NOON - MINUTE, paused_by="ada"), Phase.PAUSED, "paused 1m ago"),
        (row(due=None), Phase.OVER, "over"),
        (row(due=None, kind="celery"), Phase.UNKNOWN, "not known yet"),
        (row(due=None, kind="celery", fires=3), Phase.OVER, "over"),
    ],
)
def test_how_far_a_schedule_is(given: ScheduleRow, phase: Phase, text: str) -> None:
    assert (phase_of(given, NOON), phase_text(given, NOON)) == (phase, text)


def test_a_schedule_that_jitter_delays_is_not_late() -> None:
    assert phase_of(row(due=5, planned_at=NOON - MINUTE), NOON) is Phase.PLANNED


def test_timetables_in_words() -> None:
    berlin = {"timezone": "Europe/Berlin"}
    shown = [
        schedules.when_text(made(**values))
        for values in (
            {"when": Every(5400, phase=30)},
            {"when": At(NOON), **berlin},
            {"when": Cron("30 2 * * *"), **berlin},
            {"when": Cron("30 2 * * *"), "timezone": "UTC"},
        )
    ]
    assert shown == ["every 1h 30m + 30s", "at 2026-03-01 13:00 +01:00", "30 2 * * *, Europe/Berlin", "30 2 * * *"]


def test_every_rule_that_is_set_is_named_with_its_meaning() -> None:
    full = made(
        overlap="buffer one",
        catch_up=90 * MINUTE,
        dst="literal",
        jitter=90.0,
        start=NOON,
        end=NOON + MINUTE,
        max_fires=5,
        pause_after_failures=3,
        on_missed="tell",
        exclude=tuple(date(2026, 12, day) for day in range(1, 8)),
        options={"queue": "mail"},
    )
    told = {name: (value, meaning_of(name, value)) for name, value in rules(full)}
    assert {name: value for name, (value, _) in told.items()} == {
        "overlap": "buffer one",
        "catch up": "1h 30m",
        "dst": "literal",
        "jitter": "1m 30s",
        "start": "2026-03-01 12:00 UTC",
        "end": "2026-03-01 12:01 UTC",
        "max fires": "5",
        "pause after failures": "3",
        "on missed": "tell",
        "not on": "2026-12-01, 2026-12-02, 2026-12-03, 2026-12-04, 2026-12-05 and 2 more days",
        "queue": "mail",
    }
    assert [name for name, (_, meaning) in told.items() if not meaning] == ["queue"]
    assert told["catch up"][1] == "a fire that nobody could start within 1h 30m is missed"


@pytest.mark.parametrize("overlap", ["skip", "buffer one", "buffer all", "cancel other", "allow"])
@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
def test_each_way_to_overlap_and_to_catch_up_has_a_meaning(overlap: Any, catch_up: Any) -> None:
    assert all(meaning_of(name, value) for name, value in rules(made(overlap=overlap, catch_up=catch_up)))


def test_times_before_which_clocks_are_shifted_say_by_how_much() -> None:
    nightly = made(when=Cron("0 4 * * *"), timezone="Europe/Berlin")
    now = datetime(2026, 10, 23, tzinfo=UTC)
    upcoming = list(with_shifts(list(islice(planned_times(nightly, now), 3)), now))
    assert [(each.at.day, each.shift) for each in upcoming] == [
        (23, timedelta(0)),
        (24, timedelta(0)),
        (25, timedelta(hours=-1)),
    ]
    (first,) = with_shifts(list(islice(planned_times(nightly, datetime(2026, 3, 28, 12, tzinfo=UTC)), 1)), NOON)
    assert first.shift == timedelta(hours=1)
    assert list(with_shifts([], now)) == []


def test_a_backfill_in_a_sentence() -> None:
    assert schedules.backfill_text(Backfill([], [], 0)) == "nothing was planned then"
    assert (
        schedules.backfill_text(Backfill([NOON], [], 2)) == "1 job started; 2 planned times started or waiting already"
    )


# -- timetables of somebody else's ------------------------------------------------------------------------------------


class Asked:
    """Schedules with a timetable that answers when it is told to."""

    def __init__(self, answer: list[datetime] | Exception) -> None:
        self.answer, self.asked = answer, 0
        self.gate = threading.Event()

    def next_times(self, *_: Any) -> list[datetime]:
        self.asked += 1
        self.gate.wait(20)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


FOREIGN = Known(row(kind="celery"))


def test_a_timetable_that_hangs_holds_up_a_page_for_moments_and_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "PATIENCE_SECONDS", 0.05)
    asked: Any = Asked([NOON])
    questions = Questions()
    answers = [questions.next_or_reason(asked, FOREIGN, 10) for _ in range(3)]
    assert answers == ["its timetable has not answered for 0.05 s"] * 3
    assert asked.asked == 1
    asked.gate.set()
    monkeypatch.setattr(schedules, "PATIENCE_SECONDS", 20.0)
    assert questions.next_or_reason(asked, FOREIGN, 10) == [NOON]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ZeroDivisionError("no"), "it cannot say when it is due: ZeroDivisionError: no"),
        (ScheduleRefused("schedule 'a': known only there"), "known only there"),
    ],
)
def test_a_timetable_that_fails_says_why(error: Exception, reason: str) -> None:
    asked: Any = Asked(error)
    asked.gate.set()
    assert Questions().next_or_reason(asked, FOREIGN, 10) == reason
    assert Questions().next_or_reason(asked, Known(row()), 10) == reason


def test_a_ledger_that_is_away_is_no_reason_of_a_timetable() -> None:
    asked: Any = Asked(LedgerUnavailable("away"))
    asked.gate.set()
    questions = Questions()
    for _ in range(2):
        with pytest.raises(LedgerUnavailable):
            questions.next_or_reason(asked, FOREIGN, 10)
