"""Which worker serves what."""

import runpy

import tasks
from penstock.task import declared_tasks
from tests.live import ROOT


def test_every_queue_of_a_task_is_served() -> None:
    profiles = runpy.run_path(str(ROOT / "workers/profiles.py"))["PROFILES"]
    served = {queue for profile in profiles for queue in profile.queues}
    modules = tuple(f"tasks.{module}." for module in tasks.__all__)
    for name, task in declared_tasks().items():
        if name.startswith(modules):
            assert task.defaults.queue in served, f"{name} would wait for ever on {task.defaults.queue!r}"
