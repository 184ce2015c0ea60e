"""Finding schedules among thousands, on each database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from penstock.ledger.cursors import BadCursor, cursor_of
from penstock.ledger.schedule_search import (
    Only,
    ScheduleCounts,
    ScheduleFilter,
    SchedulePlace,
    count_schedules,
    list_schedules,
)
from penstock.ledger.session import encode_json, reading, writing
from penstock.ledger.tables import schedules

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def add(url: str, *names: str, due: float | None = 1, tags: tuple[str, ...] = (), is_paused: bool = False) -> None:
    """Schedules that are due so many hours after noon."""
    at = None if due is None else NOON + due * HOUR
    fixed: dict[str, Any] = {"kind": "cron", "planned_at": at, "due_at": at, "created_at": NOON, "updated_at": NOON}
    if is_paused:
        fixed |= {"paused_at": NOON, "paused_by": "ada"}
    with writing(url) as connection:
        for name in names:
            connection.execute(
                insert(schedules).values(name=name, definition={"task": "t", "tags": list(tags)}, **fixed)
            )


def pages(url: str, limit: int = 9, **chosen: Any) -> list[list[str]]:
    """Names of all that fit at noon, page by page, each page asked for by the cursor of the one before."""
    found: list[list[str]] = []
    after: SchedulePlace | None = None
    while True:
        with reading(url) as connection:
            page = list_schedules(connection, ScheduleFilter(**chosen), limit, NOON, after)
        found.append([row.name for row in page.rows])
        if page.after is None:
            return found
        after = SchedulePlace.of(page.after.cursor)


def names(url: str, **chosen: Any) -> list[str]:
    return [name for page in pages(url, **chosen) for name in page]


def test_what_has_been_late_longest_comes_first_and_the_others_by_name(database_url: str) -> None:
    add(database_url, "d", due=-1)
    add(database_url, "c", due=-2)
    add(database_url, "b", "a")
    add(database_url, "over", due=None)
    add(database_url, "paused", due=-9, is_paused=True)
    assert names(database_url) == ["c", "d", "a", "b", "over", "paused"]


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_pages_together_hold_each_schedule_once(database_url: str, limit: int) -> None:
    add(database_url, "late 1", "late 2", "late 3", due=-1)
    add(database_url, "b", "a", "c")
    in_order = ["late 1", "late 2", "late 3", "a", "b", "c"]
    assert pages(database_url, limit) == [in_order[at : at + limit] for at in range(0, 6, limit)]


def test_what_becomes_late_while_somebody_turns_pages_is_not_passed_over(database_url: str) -> None:
    add(database_url, "a", "b", "c", due=1)
    with reading(database_url) as connection:
        first = list_schedules(connection, ScheduleFilter(), 1, NOON)
        second = list_schedules(connection, ScheduleFilter(), 9, NOON + 2 * HOUR, first.after)
    assert [row.name for row in second.rows] == ["b", "c"]


def test_those_that_are_late_or_paused_are_listed_alone_and_counted(database_url: str) -> None:
    add(database_url, "late", due=-1)
    add(database_url, "in time")
    add(database_url, "paused", due=-1, is_paused=True)
    assert (names(database_url, only=Only.LATE), names(database_url, only=Only.PAUSED)) == (["late"], ["paused"])
    with reading(database_url) as connection:
        assert count_schedules(connection, NOON) == ScheduleCounts(all=3, paused=1, late=1)


def test_a_part_of_the_name_finds_it_in_any_case_and_means_no_pattern(database_url: str) -> None:
    add(database_url, "Nightly sales", "poll_1", "poll 2", "100%")
    assert names(database_url, name="SALES") == ["Nightly sales"]
    assert names(database_url, name="_") == ["poll_1"]
    assert names(database_url, name="%") == ["100%"]
    assert names(database_url, name="'; DROP TABLE schedules; --") == []


def test_a_tag_is_found_whole(database_url: str) -> None:
    add(database_url, "a", tags=("night", "café"))
    add(database_url, "b", tags=("nightly", 'say"so"'))
    add(database_url, "night")
    assert names(database_url, tag="night") == ["a"]
    assert names(database_url, tag="café") == ["a"]
    assert names(database_url, tag='say"so"') == ["b"]
    assert names(database_url, tag="%") == []


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "é",
        cursor_of("a", "b"),
        cursor_of("a", "", "name"),
        cursor_of("2026-03-01T12:00:00", "", "naive"),
        cursor_of("2026-03-01T12:00:00+00:00", "noon", "name"),
        cursor_of("0001-01-01T00:00:00+23:00", "", "before all time"),
        cursor_of("2026-03-01T12:00:00+00:00", "", "a\x00b"),
        cursor_of(encode_json([1])),
    ],
)
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor, match="cursor"):
        SchedulePlace.of(cursor)
