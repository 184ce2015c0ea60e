"""What Celery's prefork pool does in each new child, for a child of ours."""

from __future__ import annotations

import os
from multiprocessing import process as processes
from typing import Any

from billiard import process as billiard_process
from celery import platforms
from celery._state import _set_task_join_will_block, set_default_app
from celery.app import trace
from celery.worker import state as worker_state


def become_child(app: Any, hostname: str, place: int) -> None:
    """Makes this process a child of the worker, with its name, its log and its app.

    Args:
        place: which of the worker's children it is, from 0.
    """
    for current in (billiard_process.current_process(), processes.current_process()):
        current.name = f"ForkPoolWorker-{place + 1}"
    billiard_process.current_process().index = place
    platforms.set_mp_process_title("celeryd", hostname=hostname)
    _set_task_join_will_block(True)
    app.loader.init_worker()
    app.loader.init_worker_process()
    _open_log(app, hostname)
    app.set_current()
    set_default_app(app)
    app.finalize()
    trace._tasks = app._tasks
    worker_state.reset_state()


def _open_log(app: Any, hostname: str) -> None:
    logfile = os.environ.get("CELERY_LOG_FILE") or None
    if logfile and "%i" in logfile.lower():
        app.log.already_setup = False
    app.log.setup(
        int(os.environ.get("CELERY_LOG_LEVEL", 0) or 0),
        logfile,
        bool(os.environ.get("CELERY_LOG_REDIRECT", False)),
        str(os.environ.get("CELERY_LOG_REDIRECT_LEVEL")),
        hostname=hostname,
    )
