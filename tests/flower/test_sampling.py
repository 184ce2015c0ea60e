"""When a banner says that the live pages see a part of the jobs."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from penstock.flower.masking import Masking
from penstock.flower.sampling import REMEMBERED_SECONDS, Sampling
from penstock.redaction import Redaction


class Events:
    """Flower's end: what gets through is kept."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []

    def on_event(self, event: dict[str, Any]) -> None:
        self.kept.append(event)


class Clock:
    """One that a test sets."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def sampling(events: Events, clock: Clock) -> Sampling:
    return Sampling(events, Masking(Celery("none", set_as_current=False), Redaction()), clock)


def test_nothing_is_sampled_before_an_event_says_so(sampling: Sampling, events: Events) -> None:
    events.on_event({"type": "task-started", "uuid": "1"})
    events.on_event({"type": "task-started", "uuid": "2", "sampled": 1})
    assert not sampling.is_active
    assert len(events.kept) == 2


def test_a_sampled_event_is_remembered_for_a_minute(sampling: Sampling, events: Events, clock: Clock) -> None:
    events.on_event({"type": "task-started", "uuid": "1", "sampled": 10})
    assert sampling.is_active
    clock.seconds += REMEMBERED_SECONDS - 1
    events.on_event({"type": "task-started", "uuid": "2"})
    assert sampling.is_active
    clock.seconds += 1
    assert not sampling.is_active


@pytest.mark.parametrize("nonsense", ["ten", None, [], {"a": 1}])
def test_nonsense_of_an_event_gets_through_and_says_nothing(
    sampling: Sampling, events: Events, nonsense: object
) -> None:
    events.on_event({"type": "task-started", "uuid": "1", "sampled": nonsense, "args": nonsense, "name": nonsense})
    assert not sampling.is_active
    assert [event["uuid"] for event in events.kept] == ["1"]


def test_what_no_page_could_be_written_with_is_replaced(sampling: Sampling, events: Events) -> None:
    events.on_event({"type": "task-started", "uuid": "1", "name": "half \ud800 a character", "args": "('\x00',)"})
    assert events.kept[0]["name"] == "half ? a character"
    assert events.kept[0]["args"] == "('\ufffd',)"
    assert not sampling.is_active
