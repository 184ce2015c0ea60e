"""The last fires of a schedule as a picture."""

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

from penstock.flower.outcomes import outcome_strip
from penstock.ledger.fires import FireRow, FireState, Origin

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIRED, SKIPPED, MISSED = FireState.FIRED, FireState.SKIPPED, FireState.MISSED


def fires(*states: FireState) -> list[FireRow]:
    """One each hour from noon on."""
    return [
        FireRow(
            schedule="a",
            planned_at=NOON + number * timedelta(hours=1),
            origin=Origin.PLANNED,
            state=state,
            reason=None if state is FIRED else "because",
            job_id="1" if state is FIRED else None,
            decided_at=NOON,
        )
        for number, state in enumerate(states)
    ]


def bars(svg: str) -> list[ElementTree.Element]:
    picture = ElementTree.fromstring(svg.partition("<ul")[0])  # noqa: S314
    return list(picture.iter("rect"))


def test_each_fire_has_a_bar_of_its_state_in_the_order_of_time() -> None:
    drawn = bars(outcome_strip(fires(FIRED, SKIPPED, MISSED), UTC))
    assert [bar.get("class") for bar in drawn] == ["outcome-fired", "outcome-skipped", "outcome-missed"]
    places = [int(bar.get("x", "")) for bar in drawn]
    assert places == sorted(places)
    assert len({bar.get("height") for bar in drawn}) == 3


def test_a_bar_tells_its_time_in_the_zone_of_the_schedule() -> None:
    (bar,) = bars(outcome_strip(fires(MISSED), ZoneInfo("Europe/Berlin")))
    assert [title.text for title in bar] == ["2026-03-01 13:00 +01:00: missed"]


def test_who_does_not_see_the_picture_is_told_what_is_in_it() -> None:
    svg = outcome_strip(fires(FIRED, FIRED, MISSED), UTC)
    assert 'aria-label="The last 3 fires, the newest at the right: 2 fired, 1 missed"' in svg
    assert re.findall(r"</i>(\w+)", svg) == ["fired", "missed"]


def test_as_many_as_are_drawn_at_most_stay_within_the_picture() -> None:
    assert min(int(bar.get("x", "")) for bar in bars(outcome_strip(fires(*[FIRED] * 64), UTC))) == 0
    assert outcome_strip([], UTC) == ""
