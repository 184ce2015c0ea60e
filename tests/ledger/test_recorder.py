"""While SQL is away an outcome is kept, and written when it is back."""

import signal
import threading
from pathlib import Path

import pytest
from billiard.exceptions import SoftTimeLimitExceeded

from penstock.errors import UnserialisableResult
from penstock.job import State
from penstock.ledger import queries, schema
from penstock.ledger.recorder import Recorder
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.session import reading
from tests.live import wait_for


def test_an_outcome_waits_for_a_ledger_that_has_no_tables_yet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = f"sqlite:///{tmp_path / 'late.db'}"
    outcome = Outcome(state=State.SUCCEEDED, result=42)
    writer = threading.Thread(target=lambda: Recorder(url).end(Delivery(id="1", task="t"), outcome))
    writer.start()
    wait_for(lambda: "this outcome is kept" in caplog.text, "the recorder says that it waits")
    schema.upgrade(url)
    writer.join(20)
    with reading(url) as connection:
        row = queries.find_job(connection, "1")
    assert row is not None
    assert row.result == 42


def test_a_result_that_is_not_json_is_refused_and_nothing_is_written(database_url: str) -> None:
    with pytest.raises(UnserialisableResult):
        Recorder(database_url).end(Delivery(id="1", task="t"), Outcome(state=State.SUCCEEDED, result=object()))
    with reading(database_url) as connection:
        assert queries.find_job(connection, "1") is None


def test_arguments_that_are_not_json_are_kept_as_text(database_url: str) -> None:
    strange = Delivery(id="1", task="t", args=[float("nan")], kwargs={})
    Recorder(database_url).start(strange)
    Recorder(database_url).end(strange, Outcome(state=State.SUCCEEDED))
    with reading(database_url) as connection:
        row = queries.find_job(connection, "1")
    assert row is not None
    assert row.args == ["[nan]"]


# It may strike inside a callback of the garbage collector, where Python swallows it with this warning.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_time_limit_that_is_meant_for_the_body_does_not_cost_the_outcome(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Celery raises a soft time limit in the main thread wherever it is, also while an outcome waits for SQL."""
    url = f"sqlite:///{tmp_path / 'late.db'}"
    later = iter([0.3, 0.0])
    mending = threading.Timer(1.2, schema.upgrade, [url])

    def on_alarm(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, next(later))
        raise SoftTimeLimitExceeded

    mending.start()
    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        assert Recorder(url).end(Delivery(id="1", task="t"), Outcome(state=State.SUCCEEDED, result=42))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        mending.join()
