"""Schedule objects of Celery's: the times of ours where they can say the same, and theirs asked ahead of time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import celery
import ephem  # type: ignore[import-untyped]
import pytest
from celery.schedules import crontab, solar
from celery.schedules import schedule as interval
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import DeclarationError
from penstock.scheduler import At, Cron, Every, Foreign
from penstock.scheduler.timetables.foreign import LONGEST_WALK, from_celery
from penstock.scheduler.timetables.timing import When, when_of
from penstock.scheduler.timetables.zones import zone_of
from tests.scheduler.ground import Odd

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BERLIN, CITY = zone_of("Europe/Berlin"), (52.5, 13.4)
APP = celery.Celery("tests of solar schedules", set_as_current=False)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


def times(when: When, count: int, after: datetime = NOON, zone: Any = BERLIN) -> list[datetime]:
    found: list[datetime] = []
    following = when.after(after, zone, "cron")
    while following is not None and len(found) < count:
        found.append(following)
        following = when.after(following, zone, "cron")
    return found


# -- the sun ----------------------------------------------------------------------------------------------------------


def sunset() -> Foreign:
    when = Foreign(solar("sunset", *CITY))
    when.belong_to(APP)
    return when


def sunsets(count: int) -> list[datetime]:
    """Asked of the ephemeris itself."""
    place = ephem.Observer()
    place.lat, place.lon = map(str, CITY)
    place.elevation, place.pressure, place.horizon = 0, 0, "-0:34"
    at, found = ephem.Date(NOON), []
    for _ in range(count):
        at = place.next_setting(ephem.Sun(), start=at)
        found.append(at.datetime().replace(tzinfo=UTC))
    return found


def test_the_sun_sets_each_evening() -> None:
    found = times(sunset(), 30)
    assert len({each.astimezone(BERLIN).date() for each in found}) == 30
    for ours, theirs in zip(found, sunsets(30), strict=True):
        assert abs(ours - theirs) < 2 * MINUTE


def test_the_sun_sets_at_the_same_instant_for_every_scheduler() -> None:
    """They ask in the order of their planned times, whenever they were started."""
    when = sunset()
    first, *others = times(when, 4)
    assert times(sunset(), 3, first) == others
    assert times(when, 4, zone=zone_of("Asia/Tokyo")) == [first, *others]


# -- what somebody has written ----------------------------------------------------------------------------------------


def test_an_object_is_asked_for_its_next_time() -> None:
    assert times(Foreign(Odd(7200)), 3) == [NOON + timedelta(hours=n) for n in (2, 4, 6)]


def test_from_any_instant_the_next_time_is_the_same() -> None:
    when = Foreign(Odd(7200))
    assert {when.after(NOON + n * MINUTE, BERLIN, "cron") for n in range(120)} == {NOON + timedelta(hours=2)}


@pytest.mark.parametrize("month", [3, 10])
def test_hours_that_an_object_names_are_hours_when_clocks_are_shifted(month: int) -> None:
    evening = datetime(2026, month, 29 if month == 3 else 25, tzinfo=BERLIN).astimezone(UTC) - timedelta(hours=2)
    when = Foreign(Odd(3 * 3600))
    assert times(when, 5, evening) == times(when, 5, evening, zone_of("UTC"))


def test_it_sees_times_in_the_zone_of_the_schedule() -> None:
    seen: list[datetime] = []

    class Noting(Odd):
        def is_due(self, last: datetime) -> tuple[bool, float]:
            assert self.nowfun is not None
            seen.extend((last, self.nowfun()))
            return super().is_due(last)

    Foreign(Noting(3600)).after(NOON, BERLIN, "cron")
    assert {each.tzinfo for each in seen} == {BERLIN}


def test_asking_leaves_the_object_as_it_is() -> None:
    given = Odd(3600)
    Foreign(given).after(NOON, BERLIN, "cron")
    assert given.nowfun is None


class Says:
    """Due as it is told, whatever it is asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def is_due(self, _last: datetime) -> Any:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_an_object_that_names_a_moment_too_early_is_asked_again() -> None:
    when = Foreign(Says((False, 10), (False, 5), (True, 60)))
    assert when.after(NOON, BERLIN, "cron") == NOON + 15 * SECOND


def test_an_object_that_names_no_time_is_asked_a_moment_later() -> None:
    when = Foreign(Says((False, 0), (False, -5), (True, 0)))
    assert when.after(NOON, BERLIN, "cron") == NOON + 20 * SECOND / 1000


def test_an_object_that_is_always_due_comes_at_the_times_that_it_names() -> None:
    assert times(Foreign(Says((True, 30))), 3) == [NOON + 30 * n * SECOND for n in (1, 2, 3)]


def test_an_object_that_is_never_due_is_an_error_after_a_bounded_number_of_questions() -> None:
    when = Foreign(Says((False, 1)))
    with pytest.raises(DeclarationError, match=f"was not due at any of {LONGEST_WALK:,} times"):
        when.after(NOON, BERLIN, "cron")


@pytest.mark.parametrize("seconds", [float("inf"), 1e18, 10**12])
def test_an_object_that_is_due_never_again_is_over(seconds: float) -> None:
    assert Foreign(Says((False, seconds))).after(NOON, BERLIN, "cron") is None


@pytest.mark.parametrize("answer", [None, (True,), (True, "soon"), (True, None), (True, float("nan"))])
def test_an_object_that_talks_nonsense_raises_what_it_raises(answer: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Foreign(Says(answer)).after(NOON, BERLIN, "cron")


def test_an_object_that_is_not_here_is_an_error_that_says_so() -> None:
    stored = when_of(Foreign(Odd(60)).words())
    with pytest.raises(DeclarationError, match="<odd: 60 s> is known only where it is declared"):
        stored.after(NOON, BERLIN, "cron")


@pytest.mark.parametrize("given", [5, "0 2 * * *", object()])
def test_what_has_no_is_due_is_refused(given: Any) -> None:
    with pytest.raises(DeclarationError, match=r"is no schedule of Celery's; it has no is_due\(\)"):
        Foreign(given)


def test_objects_are_alike_when_they_look_alike() -> None:
    assert Foreign(Odd(60)) == Foreign(Odd(60)) == when_of(Foreign(Odd(60)).words())
    assert Foreign(Odd(60)) != Foreign(Odd(61))
    assert len({Foreign(Odd(60)), Foreign(Odd(60))}) == 1


def test_an_object_is_shown_as_it_looks() -> None:
    assert str(Foreign(Odd(60))) == "odd: 60 s"


def test_an_object_without_a_look_of_its_own_is_shown_by_what_it_is_made_of() -> None:
    assert Foreign(Says((True, 30))).looks == "<tests.scheduler.timetables.test_foreign.Says: answers=[(True, 30)]>"


def test_an_address_in_memory_is_no_part_of_a_look() -> None:
    class Owned(Odd):
        def __repr__(self) -> str:
            return f"<owned by {object()!r}>"

    assert Foreign(Owned(1)).looks == "<owned by <object object>>"


def test_an_object_without_attributes_looks_like_its_class() -> None:
    class Bare:
        __slots__ = ()

        def is_due(self, _last: datetime) -> tuple[bool, float]:
            return True, 60

    assert Foreign(Bare()).looks.endswith("Bare:>")


# -- entries of beat_schedule -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "when"),
    [
        (30, Every(30)),
        (0.5, Every(0.5)),
        (timedelta(hours=1, seconds=1), Every(3601)),
        (interval(90), Every(90)),
        (interval(timedelta(minutes=2), relative=True), Every(120)),
        (crontab(), Cron("* * * * *", days="both")),
        (crontab(minute=30, hour=2), Cron("30 2 * * *", days="both")),
        (crontab(minute="*/20", hour="8-10,18", day_of_week="fri-mon"), Cron("0,20,40 8,9,10,18 * * 0,1,5,6", "both")),
        (crontab(0, 0, day_of_month="1-7", day_of_week="sun"), Cron("0 0 1,2,3,4,5,6,7 * 0", days="both")),
        (crontab(0, 0, month_of_year="*/6"), Cron("0 0 * 1,7 *", days="both")),
    ],
)
def test_what_ours_can_say_becomes_ours(entry: Any, when: When) -> None:
    assert from_celery(entry) == when


def test_what_ours_cannot_say_stays_an_object() -> None:
    class Special(crontab):
        """Somebody has their own idea of it."""

    for entry in (solar("sunset", *CITY), Odd(60), Special()):
        assert isinstance(from_celery(entry), Foreign)


@pytest.mark.parametrize("entry", [None, "hourly", 0, -5, object(), timedelta(0), True])
def test_what_is_no_schedule_is_refused(entry: Any) -> None:
    with pytest.raises(DeclarationError):
        from_celery(entry)


FIELDS = {
    "minute": (0, 59),
    "hour": (0, 23),
    "day_of_month": (1, 31),
    "month_of_year": (1, 12),
    "day_of_week": (0, 6),
}


def field(low: int, high: int) -> st.SearchStrategy[str]:
    """A field as Celery reads it; steps and ranges that go round the end included."""
    number = st.integers(low, high)
    spans = st.tuples(number, number).filter(lambda ends: ends[0] != ends[1]).map(lambda ends: f"{ends[0]}-{ends[1]}")
    steps = st.integers(2, 7).map(lambda step: f"*/{step}")
    terms = number.map(str) | spans | steps | st.tuples(spans, st.integers(2, 4)).map(lambda two: f"{two[0]}/{two[1]}")
    return st.just("*") | terms | st.lists(terms, min_size=2, max_size=3).map(",".join)


@st.composite
def crontabs(draw: st.DrawFn) -> crontab:
    fields = {name: draw(st.just("*") | field(*bounds)) for name, bounds in FIELDS.items()}
    try:
        return crontab(**fields)
    except (ValueError, celery.schedules.ParseException):
        return crontab()


@settings(max_examples=60, deadline=None)
@given(crontabs(), st.integers(0, 1_000_000))
def test_a_crontab_comes_at_the_minutes_that_celery_has_chosen(given: crontab, minutes: int) -> None:
    """Each minute of a day is asked of Celery's own sets."""
    start = datetime(2026, 1, 1, tzinfo=UTC) + minutes * MINUTE
    try:
        when = from_celery(given)
    except DeclarationError:  # 31 February, which Celery waits for in vain.
        when = At(NOON - 9999 * DAY)
    expected = [minute for n in range(1, 1441) if chosen(given, minute := start + n * MINUTE)]
    found = [each for each in times(when, 1441, start, zone_of("UTC")) if each <= start + DAY]
    assert found == expected


def chosen(given: crontab, at: datetime) -> bool:
    return (
        at.minute in given.minute
        and at.hour in given.hour
        and at.day in given.day_of_month
        and at.month in given.month_of_year
        and at.isoweekday() % 7 in given.day_of_week
    )
