"""What the tests of the command line share: commands run in this process, and rows made as workers make them."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import click
import pytest
from celery.bin.base import CLIContext
from click.testing import CliRunner, Result

from penstock.app import PenstockApp
from penstock.job import Reason, State
from penstock.ledger.rows import Delivery, Failure, Outcome
from penstock.ledger.session import writing
from tests.conftest import NewLedger
from tests.ledger.making import end_attempt, start_attempt

Run = Callable[..., Result]


class Ledger:
    """Writes rows through the same statements that workers use."""

    def __init__(self, url: str) -> None:
        self.url = url

    def start(self, id: str, task: str = "tests.jobs.add", **values: Any) -> Delivery:
        """A job whose next attempt runs."""
        delivery = Delivery(id=id, task=task, **{"queue": "default", "args": [1, 2], "kwargs": {}, **values})
        with writing(self.url) as connection:
            start_attempt(connection, delivery)
        return delivery

    def end(self, delivery: Delivery, outcome: Outcome) -> str:
        with writing(self.url) as connection:
            end_attempt(connection, delivery, outcome)
        return delivery.id

    def retry(self, id: str, error: Failure, due: datetime) -> str:
        """A job whose first attempt failed and whose next one is due."""
        return self.end(self.start(id), Outcome(state=State.SCHEDULED, failure=error, due=due))

    def succeed(self, id: str, *, result: Any = None, **values: Any) -> str:
        """A job that has ended well."""
        return self.end(self.start(id, **values), Outcome(state=State.SUCCEEDED, result=result))

    def fail(self, id: str, message: str = "no such customer", *, reason: Reason = Reason.ERROR, **values: Any) -> str:
        """A job that has failed with a ValueError."""
        return self.end(
            self.start(id, **values), Outcome(state=State.FAILED, reason=reason, failure=value_error(message))
        )


def value_error(message: str, traceback: str = "Traceback (most recent call last):\n  …") -> Failure:
    """A ValueError as a worker records it."""
    exception = {"exc_type": "ValueError", "exc_module": "builtins", "exc_message": [message]}
    return Failure(
        type="ValueError", message=message, exception=exception, traceback=traceback, fingerprint="0123456789ab"
    )


@pytest.fixture
def ledger(database_url: str) -> Ledger:
    """The empty ledger of the test."""
    return Ledger(database_url)


@pytest.fixture
def quick_ledger(new_ledger: NewLedger) -> Iterator[Ledger]:
    """An empty ledger on one database, for tests of what is made of its rows."""
    with new_ledger("sqlite") as url:
        yield Ledger(url)


@pytest.fixture
def run(app: PenstockApp) -> Run:
    """Runs one of our commands as `celery -A` would, with the test's app; output as in a pipe."""
    return lambda command, *arguments: run_with(app, command, *arguments)


def run_with(app: Any, command: click.Command, *arguments: str) -> Result:
    """Runs a command with any app."""
    context = CLIContext(app=app, no_color=False, workdir=None)
    result = CliRunner().invoke(command, list(arguments), obj=context, prog_name=f"celery {command.name}")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result
