"""Speed limits."""

import time

import pytest

from penstock.operations.failures.pace import BadRate, Pace, rate_of


def test_the_first_comes_at_once_and_the_others_at_their_pace() -> None:
    pace, begun = Pace(20), time.monotonic()
    pace.wait()
    assert time.monotonic() - begun < 0.04
    for _ in range(4):
        pace.wait()
    assert time.monotonic() - begun > 0.19


def test_many_at_once_make_the_next_wait_for_all_of_them() -> None:
    pace, begun = Pace(100), time.monotonic()
    pace.wait(20)
    pace.wait()
    assert time.monotonic() - begun > 0.19


def test_time_that_was_not_used_is_not_made_up_for() -> None:
    pace = Pace(20)
    time.sleep(0.2)
    pace.wait()
    begun = time.monotonic()
    pace.wait()
    assert time.monotonic() - begun > 0.04


def test_without_a_rate_nobody_waits() -> None:
    pace, begun = Pace(None), time.monotonic()
    for _ in range(1000):
        pace.wait()
    assert time.monotonic() - begun < 0.5


@pytest.mark.parametrize(("rate", "portion"), [(None, 200), (5, 1), (100, 10), (10_000, 200)])
def test_a_portion_is_a_tenth_of_what_a_second_allows(rate: float | None, portion: int) -> None:
    assert Pace(rate).portion(200) == portion


@pytest.mark.parametrize(
    ("text", "a_second"), [("50/s", 50), ("50", 50), ("30/m", 0.5), (" 3600/h ", 1), ("0.5/s", 0.5)]
)
def test_a_rate_is_so_many_in_a_time(text: str, a_second: float) -> None:
    assert rate_of(text) == a_second


@pytest.mark.parametrize(
    "text",
    ["fast", "0/s", "-1/s", "5/d", "", "٣/s", "nan", "inf/s", "9" * 400, "1000001/s", "0.01/h", f"0.{'0' * 323}1"],
)
def test_what_is_no_rate_is_refused_with_the_way_to_write_one(text: str) -> None:
    with pytest.raises(BadRate, match="write 50/s"):
        rate_of(text)
