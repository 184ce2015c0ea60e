"""Charts as SVG."""

from datetime import UTC, datetime, timedelta

import pytest

from penstock.flower.charts import bar_chart, sparkline

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def hourly(count: int) -> list[datetime]:
    return [NOON + timedelta(hours=number) for number in range(count)]


@pytest.mark.parametrize(("hours", "shown", "hidden"), [(25, ">18:00<", "Nov"), (7 * 24, ">29 Nov<", ">12:00<")])
def test_times_of_more_than_a_day_are_told_by_their_days(hours: int, shown: str, hidden: str) -> None:
    letters, *_ = bar_chart("Failed", hourly(hours), [1.0] * hours, "UTC").split("<rect")
    assert shown in letters
    assert hidden not in letters


def test_a_bar_stands_for_each_time_that_has_some() -> None:
    chart = bar_chart("Failed", hourly(4), [0, 3, 0, 1], "UTC")
    assert chart.count("<rect") == 2
    assert "22 Nov 13:00: 3" in chart
    assert 'aria-label="Failed: 4 in all, at most 3 at a time"' in chart


def test_nothing_is_said_and_not_drawn() -> None:
    assert "none in this time" in bar_chart("Failed", hourly(2), [0, 0], "UTC")
    assert sparkline("Failed", []) == ""


def test_names_in_a_chart_run_nothing() -> None:
    chart = sparkline("<script>", [1, 2]) + bar_chart("<script>", hourly(1), [1], "UTC")
    assert "<script>" not in chart
