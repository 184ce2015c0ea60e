"""What is told of an attempt of a task with a breaker, by how its body ends."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from billiard.exceptions import TimeLimitExceeded
from celery import Celery
from celery.exceptions import Ignore, Reject, Retry

from penstock import Cancel, Discard, Snooze
from penstock.breaker import Breaker
from penstock.engine import attempts
from penstock.engine.attempts import Attempt
from penstock.engine.link import KeeperLink
from penstock.errors import JobCancelled
from penstock.ledger.outlet import set_outlet

app = Celery("attempts", set_as_current=False, broker="memory://", backend="cache+memory://")


@app.task(name="attempts.body", breaker=Breaker())
def body(error: BaseException | None) -> None:
    """Ends as it is told to."""
    if error is not None:
        raise error


@app.task(name="attempts.choosy", breaker=Breaker(on=(ConnectionError,)))
def choosy(error: BaseException | None) -> None:
    """The same; not all that it raises is a failure."""
    if error is not None:
        raise error


@pytest.fixture
def told() -> Iterator[list[Attempt]]:
    """What was told."""
    found: list[Attempt] = []
    app.finalize()
    attempts.watch(app)
    attempts.set_teller(found.append)
    yield found
    attempts.set_teller(None)


def run(error: BaseException | None, name: str = "attempts.body") -> None:
    """Runs a body that ends by this."""
    task = app.tasks[name]
    task.push_request(id="1", delivery_info={"claimer": "ant@host/00000001", "token": "1:0"})
    with nullcontext() if error is None else pytest.raises(type(error)):
        task.run(error)
    task.pop_request()


@pytest.mark.parametrize("error", [ValueError(), Retry(exc=ConnectionError()), ExceptionGroup("", [ValueError()])])
def test_an_error_is_a_failure_and_so_is_a_retry_because_of_one(told: list[Attempt], error: Exception) -> None:
    run(error)
    assert [each.failed for each in told] == [True]


@pytest.mark.parametrize(
    "error",
    [
        Cancel("not wanted"),
        Discard("nothing to do"),
        ExceptionGroup("", [Discard("nothing to do")]),
        Ignore(),
        Reject(),
        Retry(),
        None,
    ],
    ids=repr,
)
def test_what_a_body_decides_and_what_it_answers_is_none(told: list[Attempt], error: Exception | None) -> None:
    run(error)
    assert told == [Attempt("attempts.body", "00000001:1:0", False, "")]


@pytest.mark.parametrize("error", [Snooze(1), ExceptionGroup("", [Snooze(1)]), JobCancelled()], ids=repr)
def test_a_body_that_puts_its_work_off_or_is_cancelled_says_nothing(told: list[Attempt], error: BaseException) -> None:
    run(error)
    assert told == []


def test_of_a_hard_limit_the_keeper_knows_by_its_record(told: list[Attempt]) -> None:
    """But only where there are records."""
    run(TimeLimitExceeded(1))
    assert [each.failed for each in told] == [True]
    set_outlet(KeeperLink({}, lambda _: None))
    try:
        run(TimeLimitExceeded(1))
    finally:
        set_outlet(None)
    assert len(told) == 1


def test_an_error_that_says_nothing_of_the_service_is_none(told: list[Attempt]) -> None:
    for error in (ValueError(), ConnectionError()):
        run(error, "attempts.choosy")
    assert [(each.failed, each.fault) for each in told] == [(False, ""), (True, "ConnectionError: ")]
