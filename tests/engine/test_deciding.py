"""What a body decides about its own job, and what a Retry does, in every kind of children and pool."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from celery.exceptions import TaskRevokedError

from penstock.job import Reason, State
from penstock.ledger import queries
from penstock.ledger.backend import REASON
from penstock.ledger.rows import AttemptRow, JobRow
from penstock.ledger.session import reading
from penstock.results import failure_of
from tests.conftest import NewLedger
from tests.engine.station import Station
from tests.engine.test_children import ended, row_of
from tests.engine.test_lost_workers import killed_at_the_end
from tests.live import wait_for


class Pool(NamedTuple):
    name: str
    database: str
    options: tuple[str, ...] = ()
    changes: dict[str, Any] = {}  # noqa: RUF012  a constant

    @property
    def outlives_its_jobs(self) -> bool:
        """Whether a job's process may be killed without its worker."""
        return self.name not in ("stock threads", "stock solo")


POOLS = [
    Pool("single", "postgresql"),
    Pool("asyncio", "sqlite", changes={"penstock_kind": "asyncio", "penstock_size": 20}),
    Pool("threads", "postgresql", changes={"penstock_kind": "threads", "penstock_size": 4}),
    Pool("stock processes", "postgresql", ("-P", "processes")),
    Pool("stock threads", "sqlite", ("-P", "threads")),
    Pool("stock solo", "sqlite", ("-P", "solo")),
]


@pytest.fixture(scope="module", params=POOLS, ids=lambda pool: pool.name)
def pool(request: pytest.FixtureRequest) -> Pool:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def place(pool: Pool, tmp_path_factory: pytest.TempPathFactory, new_ledger: NewLedger) -> Iterator[Station]:
    """A Redis, a ledger and a worker."""
    folder: Path = tmp_path_factory.mktemp("deciding")
    with (
        new_ledger(pool.database) as ledger,
        Station(folder, ledger=ledger) as made,
        killed_at_the_end(made.worker("-E", *pool.options, **pool.changes)),
    ):
        yield made


def attempts(place: Station, id: str) -> list[AttemptRow]:
    with reading(place.ledger) as connection:
        return queries.attempts_of(connection, id)


def outcomes(place: Station, id: str) -> list[str | None]:
    """How each of a job's starts ended; it has ended, and nothing of it is left in Redis."""
    ended(place, id)
    wait_for(place.quiet, "everything is settled")
    rows = attempts(place, id)
    assert len(rows) == len(place.starts(id))
    return [row.outcome for row in rows]


def waiting_again(place: Station, id: str) -> JobRow:
    return wait_for(lambda: row if (row := row_of(place, id)).state is State.SCHEDULED else None, f"{id} is scheduled")


BOTH = pytest.mark.parametrize("kind", ["", "a"], ids=["def", "async"])


@BOTH
def test_a_snooze_costs_no_attempt(place: Station, kind: str) -> None:
    words = ("snooze", "fail", "snooze", "snooze")
    id = place.send(f"{kind}turns", *words)
    assert outcomes(place, id) == ["snoozed", "retried", "snoozed", "snoozed", "succeeded"]
    row = ended(place, id)
    assert (row.state, row.result, row.retries, row.attempts) == (State.SUCCEEDED, None, 4, 5)


def test_a_body_knows_which_attempt_it_is_without_its_snoozes(place: Station) -> None:
    words = ("snooze", "fail", "snooze")
    assert place.app.tasks["engine.turns"].apply_async(words).get(timeout=20) == 2


def test_a_job_that_has_snoozed_fails_after_its_attempts(place: Station) -> None:
    id = place.send("turns", "snooze", "fail", "snooze", "fail")
    assert outcomes(place, id) == ["snoozed", "retried", "snoozed", "failed"]
    assert ended(place, id).reason is Reason.ERROR


def test_a_job_that_snoozes_waits_in_redis_for_its_time(place: Station) -> None:
    id = place.send("turns", "long")
    wait_for(place.parked, "it is parked")
    row = waiting_again(place, id)
    assert row.reason is Reason.SNOOZED
    assert row.eta is not None
    assert abs(row.eta - datetime.now(UTC) - timedelta(minutes=5)) < timedelta(seconds=30)


@BOTH
def test_a_job_that_is_discarded_fails_for_good(place: Station, kind: str) -> None:
    id = place.send(f"{kind}decides", "discard", "no such user")
    assert outcomes(place, id) == ["failed"]
    row = ended(place, id)
    assert (row.reason, row.error_type, row.error_message) == (
        Reason.DISCARDED,
        "penstock.retrying.Discard",
        "no such user",
    )


@BOTH
def test_a_job_that_cancels_itself_is_no_failure(place: Station, kind: str) -> None:
    id = place.send(f"{kind}decides", "cancel", "expired, like all of them")
    assert outcomes(place, id) == ["cancelled"]
    row = ended(place, id)
    assert (row.state, row.reason, row.error_message) == (State.CANCELLED, Reason.BODY, "expired, like all of them")
    failed = failure_of(row)
    assert (failed.state, failed.reason, failed.error_message) == ("cancelled", "by its body", row.error_message)
    with pytest.raises(TaskRevokedError, match="expired, like all of them"):
        place.app.AsyncResult(id).get(timeout=5)


@BOTH
def test_a_job_whose_process_dies_after_it_has_decided_starts_again(place: Station, pool: Pool, kind: str) -> None:
    if not pool.outlives_its_jobs:
        pytest.skip("its jobs run in the worker's own process")
    id = place.send(f"{kind}decides", "die", "")
    assert outcomes(place, id) == ["crashed", "snoozed", "succeeded"]
    assert [start["deliveries"] for start in place.starts(id)] == [0, 1, 0]


def test_a_task_of_celerys_decides_as_well(place: Station) -> None:
    assert outcomes(place, place.send("plainly", "snooze", "fail", "snooze")) == [
        "snoozed",
        "retried",
        "snoozed",
        "succeeded",
    ]
    id = place.send("plainly", "snooze", "fail", "snooze", "fail")
    assert outcomes(place, id) == ["snoozed", "retried", "snoozed", "failed"]
    assert outcomes(place, place.send("plainly", "fail", "snooze")) == ["retried", "snoozed", "succeeded"]
    assert outcomes(place, place.send("plainly", "fail", "fail")) == ["retried", "failed"]
    id = place.send("plainly", "discard")
    assert (outcomes(place, id), ended(place, id).reason) == (["failed"], Reason.DISCARDED)
    id = place.send("plainly", "cancel")
    assert (outcomes(place, id), ended(place, id).reason) == (["cancelled"], Reason.BODY)


def test_a_header_does_not_say_why_a_job_has_failed(place: Station) -> None:
    id = place.send("turns", "fail", "fail", headers={REASON: "by_nobody"})
    assert (outcomes(place, id), ended(place, id).reason) == (["retried", "failed"], Reason.ERROR)


def test_a_rule_counts_its_own_attempts(place: Station) -> None:
    id = place.send("ruled", "limit", "snooze", "limit", "lose")
    assert outcomes(place, id) == ["retried", "snoozed", "retried", "failed"]
    assert outcomes(place, place.send("ruled", "limit", "limit", "limit")) == ["retried", "retried", "failed"]
    assert outcomes(place, place.send("ruled", "never")) == ["failed"]


def test_an_error_that_says_when_to_come_back_is_believed(place: Station) -> None:
    assert outcomes(place, place.send("told", "tell", "tell")) == ["retried", "retried", "succeeded"]


@pytest.mark.parametrize(("sender", "countdown"), [("ours", 0.5), ("stock", 0)])
def test_no_attempt_starts_after_the_deadline(place: Station, sender: str, countdown: float) -> None:
    app = place.app if sender == "ours" else place.stock
    id = place.send("hurried", "snooze", app=app, countdown=countdown)
    ends = outcomes(place, id)
    # Pauses of 0.4 s: there is room for three attempts at most, and for fewer where the machine has other work.
    assert (ends[0], set(ends[1:-1]) <= {"retried"}, ends[-1], len(ends) <= 4) == ("snoozed", True, "failed", True)
    row = ended(place, id)
    assert (row.state, row.reason, row.error_message) == (State.FAILED, Reason.DEADLINE, "not yet")


def test_a_job_may_wait_for_a_worker_anew_after_each_pause(place: Station) -> None:
    id = place.send("patient", "fail", "snooze", countdown=0.6)
    assert outcomes(place, id) == ["retried", "snoozed", "succeeded"]


def test_a_job_that_finds_no_worker_in_time_expires(place: Station) -> None:
    place.close_queue()
    id = place.send("patient")
    expires_after(place, datetime.now(UTC))
    assert (ended(place, id).state, ended(place, id).reason) == (State.CANCELLED, Reason.EXPIRED)
    assert not place.starts(id)


@pytest.mark.parametrize("word", ["snooze", "fail"])
def test_a_job_that_finds_no_worker_in_time_after_a_pause_expires(place: Station, word: str) -> None:
    gate = place.gate("first-start")
    id = place.send("patient", word, kwargs={"gate": str(gate)})
    place.started(id)
    place.close_queue()
    gate.touch()
    row = waiting_again(place, id)
    assert row.eta is not None
    expires_after(place, row.eta)
    assert (ended(place, id).state, ended(place, id).reason) == (State.CANCELLED, Reason.EXPIRED)
    assert len(place.starts(id)) == 1


def expires_after(place: Station, due: datetime) -> None:
    """Serves the queue again when jobs that were due then have waited for too long."""
    wait_for(lambda: datetime.now(UTC) > due + timedelta(seconds=1), "the schedule timeout is over")
    place.open_queue()
