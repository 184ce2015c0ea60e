"""Penstock: Celery's API, command line and ecosystem, with every outcome in SQL."""

from penstock.adoption import adopt
from penstock.client import Job, enqueue_many
from penstock.config import EnvironmentSettings, Settings, load, setting
from penstock.errors import PenstockError
from penstock.job import State
from penstock.outbox import outbox
from penstock.task import BoundCall, Retry, RunningJob, Task, current_job, task

__all__ = [
    "BoundCall",
    "EnvironmentSettings",
    "Job",
    "PenstockError",
    "Retry",
    "RunningJob",
    "Settings",
    "State",
    "Task",
    "adopt",
    "current_job",
    "enqueue_many",
    "load",
    "outbox",
    "setting",
    "task",
]
