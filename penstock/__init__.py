"""Penstock: Celery's API, command line and ecosystem, with every outcome in SQL."""

from penstock.client import Job
from penstock.config import EnvironmentSettings, Settings, load, setting
from penstock.errors import PenstockError
from penstock.job import State
from penstock.task import Retry, RunningJob, Task, current_job, task

__all__ = [
    "EnvironmentSettings",
    "Job",
    "PenstockError",
    "Retry",
    "RunningJob",
    "Settings",
    "State",
    "Task",
    "current_job",
    "load",
    "setting",
    "task",
]
