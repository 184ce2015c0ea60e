"""The page of comparisons is what the libraries do, and what it says of each is so."""

import pytest
import redis

from tests.scheduler.timetables.compared import (
    APSCHEDULER,
    BEAT,
    COMMAND,
    DEBIAN,
    EXPRESSIONS,
    NIGHTS,
    OTHERS,
    OURS,
    PAGE,
    REDBEAT,
    RULE,
    Night,
    Table,
    debian,
    page,
    penstock,
    table,
)

SPRING, AUTUMN, *_ = NIGHTS
Tables = dict[Night, Table]


@pytest.fixture(scope="module")
def tables(redis_server: str) -> Tables:
    """Everybody's fires in all nights; RedBeat's schedules are in an empty database."""
    with redis.Redis.from_url(redis_server) as connection:
        connection.flushdb()
        computed = {night: table(night, redis_server) for night in NIGHTS}
        connection.flushdb()
    return computed


def shown(tables: Tables, night: Night, expression: str, name: str) -> list[str]:
    """The fires in the column of this name."""
    return [f"{fire.astimezone(night.zone):%H:%M%z}"[:-2] for fire in tables[night][expression][name]]


def test_the_page_is_what_the_libraries_do(tables: Tables) -> None:
    assert PAGE.read_text() == page(tables), f"run {COMMAND}"


@pytest.mark.parametrize("night", NIGHTS, ids=lambda night: f"{night.name} {night.day}")
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_penstock_does_what_the_rule_says(tables: Tables, night: Night, expression: str) -> None:
    row = tables[night][expression]
    assert row[RULE]
    assert row[OURS] == row[RULE]


@pytest.mark.parametrize("name", OTHERS)
def test_each_of_the_others_deviates_somewhere(tables: Tables, name: str) -> None:
    assert any(row[name] != row[RULE] for rows in tables.values() for row in rows.values())


def test_what_lies_in_the_gap_comes_late_from_celery_redbeat_and_apscheduler(tables: Tables) -> None:
    for name in (BEAT, REDBEAT, APSCHEDULER):
        assert shown(tables, SPRING, "30 2 * * *", name) == ["03:30+02"]
        assert "03:00+02" in shown(tables, SPRING, "0 */2 * * *", name)


def test_celery_pauses_in_the_second_of_two_equal_hours(tables: Tables) -> None:
    for name in (BEAT, REDBEAT):
        assert "02:30+02" in shown(tables, AUTUMN, "*/30 * * * *", name)
        assert "02:30+01" not in shown(tables, AUTUMN, "*/30 * * * *", name)


def test_redbeat_is_late_after_clocks_were_put_back(tables: Tables) -> None:
    (fire,), (planned,) = (tables[AUTUMN]["0 3 * * *"][name] for name in (REDBEAT, RULE))
    assert 0 < (fire - planned).total_seconds() <= 3600


def test_apscheduler_fires_twice_what_comes_twice(tables: Tables) -> None:
    assert shown(tables, AUTUMN, "30 2 * * *", APSCHEDULER) == ["02:30+02", "02:30+01"]


def test_debians_cron_has_an_open_hour_where_the_minute_has_a_star(tables: Tables) -> None:
    assert shown(tables, SPRING, "*/15 2 * * *", DEBIAN) == []
    assert len(shown(tables, AUTUMN, "*/15 2 * * *", DEBIAN)) == 8
    # And none where the hour has all numbers.
    assert len(debian("30 0-23 * * *", AUTUMN)) == 24
    assert len(penstock("30 0-23 * * *", AUTUMN)) == 25


def test_debians_cron_starts_each_time_that_was_left_out() -> None:
    fires = debian("0,30 2 * * *", SPRING)
    assert fires == penstock("0,30 2 * * *", SPRING) * 2
