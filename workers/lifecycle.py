"""What each child of a worker opens, warms and closes. Imported by `workers`, which connects it to Celery's signals.

A child opens its own, after the fork: two processes on one socket would read each other's answers. Nothing here
waits for a server, because Celery takes a child that is not up within four seconds for dead. Tasks do not rely on
it: what is not open yet opens at first use, as it does in the threads pool, which tells nobody of its threads.
"""

from __future__ import annotations

from typing import Any

from celery import signals

from penstock import Settings
from penstock.ledger import session
from tasks import http


@signals.worker_init.connect(weak=False)
def preload(**_: Any) -> None:
    """In the parent, before it forks: loads the libraries, whose memory all children then share. Opens nothing."""
    import urllib3  # noqa: F401

    import tasks.http_in_loop
    import tasks.reporting.page
    import tasks.reporting.reading  # noqa: F401


@signals.worker_process_init.connect(weak=False)
def open_all(**_: Any) -> None:
    """In each child (and in the one process of a solo worker), before its first job."""
    http.open_pool()
    session.engine_for(Settings.load().database_url)


@signals.worker_process_shutdown.connect(weak=False)
@signals.worker_shutdown.connect(weak=False)
def close_all(**_: Any) -> None:
    """In each child after its last job, and in the parent, which is also where solo and threads workers run jobs."""
    http.close_pool()
    session.close_all()
