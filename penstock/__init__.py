"""Penstock: Celery's API, command line and ecosystem, with every outcome in SQL."""

from penstock.adoption import adopt
from penstock.client import Job, aenqueue_many, as_ended, enqueue_many
from penstock.config import EnvironmentSettings, Settings, load, setting
from penstock.errors import JobFailed, PenstockError
from penstock.job import State
from penstock.outbox import outbox
from penstock.retrying import Cancel, Discard, Retry, Snooze
from penstock.task import Task, current_job, task

__all__ = [
    "Cancel",
    "Discard",
    "EnvironmentSettings",
    "Job",
    "JobFailed",
    "PenstockError",
    "Retry",
    "Settings",
    "Snooze",
    "State",
    "Task",
    "adopt",
    "aenqueue_many",
    "as_ended",
    "current_job",
    "enqueue_many",
    "load",
    "outbox",
    "setting",
    "task",
]
