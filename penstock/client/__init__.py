"""Submitting jobs and asking what became of them.

redis-py, kombu and SQLAlchemy are imported by the first call that needs them: a web application that imports its task
modules pays for none.
"""

from penstock.client.ending import as_ended
from penstock.client.job import Job
from penstock.client.many import aenqueue_many, enqueue_many
from penstock.client.one import asend, put_scheduled, send
from penstock.client.publishing import configure
from penstock.client.templates import HARD_LIMIT_GRACE, time_limits
from penstock.task import register_sender

__all__ = [
    "HARD_LIMIT_GRACE",
    "Job",
    "aenqueue_many",
    "as_ended",
    "configure",
    "enqueue_many",
    "put_scheduled",
    "time_limits",
]

register_sender(send, asend)
