"""What a worker owes the others: stock workers on its queues, closed gates, jobs that it does not want."""

from collections.abc import Iterator

import pytest

from tests.engine.station import QUEUE, Station, entered
from tests.live import Worker, wait_for


@pytest.fixture(scope="module", autouse=True)
def workers(station: Station) -> Iterator[list[Worker]]:
    """Two of ours and a stock one beside them; the stock one serves a queue of its own as well."""
    ours = [station.worker("-Q", f"{QUEUE},gated") for _ in range(2)]
    stock = station.worker("-Q", f"{QUEUE},stock", app="stock")
    with entered(*ours, stock):
        yield [*ours, stock]


def test_ours_and_stock_workers_share_a_queue_and_each_job_runs_once(station: Station) -> None:
    ids = [(station.send, station.send_stock)[i % 2]("touch") for i in range(150)]
    for id in ids:
        station.ended(id)
    wait_for(station.quiet, "everything is settled")
    starts = [station.starts(id) for id in ids]
    assert [len(start) for start in starts] == [1] * 150
    assert {start[0]["worker"] for start in starts} == {"w0@host", "w1@host", "w2@host"}
    assert not station.redis.hlen("unacked")


def test_a_stock_worker_runs_what_our_producers_send(station: Station) -> None:
    assert station.ended(station.send("touch", queue="stock"))["worker"] == "w2@host"


def test_nothing_is_claimed_from_a_queue_that_is_closed(station: Station) -> None:
    station.close_queue("gated")
    ids = [station.send("touch", queue="gated") for _ in range(3)]
    station.ended(station.send("touch"))
    assert station.ready("gated") == ids
    station.open_queue("gated")
    for id in ids:
        station.ended(id)


def test_a_job_that_is_rejected_goes_last_and_is_delivered_again(station: Station) -> None:
    end = station.gate("end")
    rejected = station.send("reject", queue="gated")
    station.started(rejected)
    station.ended(rejected)
    first, second = station.starts(rejected)
    assert (first["redelivered"], second["redelivered"]) == (False, True)
    assert second["deliveries"] == 1
    end.touch()


def test_a_job_with_early_acknowledgement_is_settled_when_it_starts(station: Station) -> None:
    end = station.gate("end")
    early = station.send("early", str(end), queue="gated")
    station.started(early)
    # The same worker may claim it: it has nothing any more, and its only child is busy.
    late = station.send("hold", str(end), queue="gated")
    wait_for(lambda: (station.ready("gated"), station.held()) == ([], 1), "only the late one is held")
    end.touch()
    station.ended(early)
    station.ended(late)
