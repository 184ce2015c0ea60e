"""What a body may say of how far it is."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import pytest

from penstock.progress import Point, Progress, rate_of, seconds_left
from penstock.task import RunningJob

NOW = datetime.now(UTC)


class Heard:
    """Where reports go."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, float | None, str | None]] = []

    def progress(self, done: float, total: float | None, note: str | None) -> None:
        self.reports.append((done, total, note))


@pytest.mark.parametrize(("done", "total", "note"), [(0, None, None), (0, 0, ""), (1.5, 3, "half"), (3, 3.0, None)])
def test_what_makes_sense_is_heard(done: float, total: float | None, note: str | None) -> None:
    heard = Heard()
    RunningJob("id", "task", 1, reports=heard).progress(done, total, note)
    assert heard.reports == [(done, total, note)]


class Two(IntEnum):
    """An int that is not only one."""

    TWO = 2


class Single:
    """A number of fixed size, as numpy has them: none of Python's, and it says which of Python's it is like."""

    def __float__(self) -> float:
        return 4.0


class Count(Single):
    """A whole one."""

    def __index__(self) -> int:
        return 4


class Broken:
    """What fails when it is asked for a number."""

    def __float__(self) -> float:
        raise RuntimeError


@pytest.mark.parametrize(
    ("done", "total", "heard_as"),
    [
        (Decimal("1.5"), Decimal(3), (1.5, 3.0)),
        (Fraction(1, 2), None, (0.5, None)),
        (Two.TWO, Single(), (2, 4.0)),
        (1.0, Count(), (1.0, 4)),
    ],
)
def test_a_number_of_any_kind_is_heard_as_one_of_python_s_own(done: Any, total: Any, heard_as: Any) -> None:
    heard = Heard()
    RunningJob("id", "task", 1, reports=heard).progress(done, total)
    assert heard.reports == [(*heard_as, None)]
    assert [type(each) for each in heard.reports[0][:2]] == [type(each) for each in heard_as]


@pytest.mark.parametrize(
    ("done", "total", "note"),
    [
        (Decimal("NaN"), None, None),
        (Decimal("sNaN"), None, None),
        (Decimal("1e400"), None, None),
        (b"1", None, None),
        (Broken(), None, None),
        (float("nan"), None, None),
        (float("inf"), None, None),
        (-1, None, None),
        ("1", None, None),
        (True, None, None),
        (1 << 70, None, None),
        (2, 1, None),
        (1, float("nan"), None),
        (1, -1, None),
        (1, 2, 3),
    ],
)
def test_a_report_that_makes_no_sense_is_a_warning_and_reaches_nobody(
    done: Any, total: Any, note: Any, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()
    RunningJob("id", "task", 1, reports=heard).progress(done, total, note)
    assert heard.reports == []
    assert "the report is ignored" in caplog.text


def test_where_nobody_listens_a_report_is_lost_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    RunningJob("id", "task", 1).progress(1, 2)
    assert caplog.text == ""


def test_the_rate_is_that_of_the_last_points() -> None:
    points = [Point(NOW + timedelta(seconds=each), each * (1 if each < 10 else 2), 100) for each in range(20)]
    progress = Progress(40.0, 100.0, None, NOW + timedelta(seconds=20))
    rate = rate_of(points, progress)
    assert rate == pytest.approx(2)
    assert seconds_left(progress, rate) == pytest.approx(30)


def test_without_a_total_or_a_rate_nobody_knows_how_long_the_rest_takes() -> None:
    assert seconds_left(Progress(4, None, None, NOW), 2.0) is None
    assert seconds_left(Progress(4, 8, None, NOW), None) is None
    assert rate_of([Point(NOW, 5, 8)], Progress(4, 8, None, NOW)) is None
