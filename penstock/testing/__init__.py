"""The test kit: a pytest plugin with real servers, for tests of applications that enqueue, and of their tasks.

    the fixture jobs ──► enqueued · assert_enqueued     what was submitted, in tables that show the nearest miss
                     ──► inline · drain                 run in the process of the tests
                     ──► clock                          schedules, delays and retries become due
                     ──► kill · crash_everywhere        a worker dies at a step of a job's life

docs/testing.md has examples of each.
"""

from penstock.testing.attempts import Attempt, Drained, StillWaiting, Waiting
from penstock.testing.clock import Clock, Fire
from penstock.testing.enqueued import Enqueued
from penstock.testing.jobs import Jobs
from penstock.testing.kills import KILL_POINTS, Crash, KillPoint

__all__ = [
    "KILL_POINTS",
    "Attempt",
    "Clock",
    "Crash",
    "Drained",
    "Enqueued",
    "Fire",
    "Jobs",
    "KillPoint",
    "StillWaiting",
    "Waiting",
]
