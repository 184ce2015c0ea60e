"""Celery's own pool of threads: what several of them tell the keeper at once arrives."""

from __future__ import annotations

import pytest

from tests.engine.station import Station
from tests.live import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
ROUNDS, AT_ONCE = 20, 40


def test_jobs_that_end_in_several_threads_at_once_are_all_recorded_and_settled(booked: Station) -> None:
    with booked.worker("-P", "threads", children=3):
        for _ in range(ROUNDS):
            results = [booked.app.tasks["engine.touch"].apply_async() for _ in range(AT_ONCE)]
            wait_for(lambda results=results: all(each.ready() for each in results), "all of them are recorded", 10)
        wait_for(lambda: not booked.held(), "each claim is settled")
