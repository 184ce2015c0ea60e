"""Cancelling jobs that run in Celery's own pools, as far as those can end what they run."""

from __future__ import annotations

import time
from typing import Any

from penstock import Job
from penstock.job import State
from tests.engine.station import Station
from tests.engine.test_cancelling import booked, cancelled
from tests.engine.test_children import ended
from tests.engine.test_lost_workers import killed_at_the_end
from tests.live import wait_for

__all__ = ["booked"]


def test_processes_of_celerys_own_pool_are_ended_after_the_grace(booked: Station) -> None:
    with killed_at_the_end(booked.worker("-P", "processes", "-Q", "stock")):
        id = booked.send("attentive", queue="stock")
        booked.started(id)
        job: Job[Any] = Job(id, "engine.attentive")
        began = time.monotonic()
        job.cancel(grace=1.5)
        cancelled(booked, job)
        assert time.monotonic() - began >= 1.5
        wait_for(booked.quiet, "its claim has ended")


def test_bodies_in_threads_of_celerys_own_pool_can_look(booked: Station) -> None:
    end = booked.gate("end")
    with killed_at_the_end(booked.worker("-P", "threads", "-Q", "stock", children=2)) as worker:
        looking, other = booked.send("attentive", queue="stock"), booked.send("hold", str(end), queue="stock")
        booked.started(looking)
        booked.started(other)
        Job(looking, "engine.attentive").cancel(grace=0.5)
        assert ended(booked, looking).state is State.SUCCEEDED
        Job(other, "engine.hold").cancel(grace=0.5)
        wait_for(lambda: "cannot end what runs in it" in worker.log, "nobody can end it")
        end.touch()
        assert ended(booked, other).state is State.SUCCEEDED
