"""A job's life as a picture: each phase a bar in its place, told in words as well."""

import re

from penstock.flower.life_chart import MOST_ROWS, life_chart
from penstock.operations.jobs.timeline import Phase
from tests.operations.jobs.lives import NOW, START, at


def bars(chart: str) -> list[tuple[str, float, float]]:
    """Class, left end and width of each, as parts of the axis."""
    found = re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', chart)
    return [(name, round((float(x) - 150) / 598, 2), round(float(width) / 598, 2)) for name, x, width in found]


def test_each_phase_is_a_bar_on_one_axis_in_the_colour_of_its_outcome() -> None:
    phases = [Phase(None, START, at(25)), Phase(1, at(25), at(50), "retried"), Phase(None, at(50), at(75))]
    chart = life_chart([*phases, Phase(2, at(75), at(100), "failed")], START, NOW)
    assert bars(chart) == [("waits", 0, 0.25), ("d", 0.25, 0.25), ("waits", 0.5, 0.25), ("c", 0.75, 0.25)]
    assert chart.count("1m 40s") == 1


def test_what_goes_on_ends_now() -> None:
    assert bars(life_chart([Phase(1, at(50), None)], START, NOW)) == [("a", 0.5, 0.5)]


def test_what_is_due_prolongs_the_axis() -> None:
    chart = life_chart([Phase(None, START, None)], START, NOW, at(200))
    assert bars(chart) == [("waits", 0, 0.5)]
    assert "<title>due in 1m 40s</title>" in chart
    assert "due" not in life_chart([Phase(None, START, None)], START, NOW, at(50))


def test_it_is_told_in_words() -> None:
    chart = life_chart([Phase(None, START, at(1)), Phase(1, at(1), at(3), "succeeded")], START, NOW)
    assert 'aria-label="The job by time: waited, 1s; attempt 1 succeeded, 2s"' in chart


def test_what_took_no_time_is_seen() -> None:
    (_, start, width) = bars(life_chart([Phase(None, START, at(100)), Phase(1, at(100), at(100), "lost")], START, NOW))[
        1
    ]
    assert (start, width) == (1.0, 0.0)
    assert 'width="2.0"' in life_chart([Phase(1, at(100), at(100), "lost")], START, NOW)


def test_of_a_long_life_the_last_attempts_are_drawn() -> None:
    phases = [Phase(number + 1, at(number), at(number + 1), "lost") for number in range(MOST_ROWS + 6)]
    chart = life_chart(phases, START, at(MOST_ROWS + 6))
    assert len(bars(chart)) == MOST_ROWS
    assert ">7. lost, 1s<" in chart
    assert ">6. lost, 1s<" not in chart


def test_an_outcome_of_somebody_else_is_text() -> None:
    assert "<script>" not in life_chart([Phase(1, START, at(1), "<script>")], START, NOW)


def test_without_a_phase_there_is_no_picture() -> None:
    assert life_chart([], START, NOW) == ""
