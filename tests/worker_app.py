"""The app of the workers that tests start: `celery -A tests.worker_app worker`."""

from typing import Any

from celery.worker.control import inspect_command

from penstock import Settings
from penstock.app import make_app
from tests import jobs

app = make_app("tests", settings=Settings.load())


@inspect_command()
def connections(state: Any) -> list[str]:
    """The parent process's connections to the ledger."""
    return jobs.ledger_connections()
