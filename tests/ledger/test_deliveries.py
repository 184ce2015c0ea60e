"""How far jobs have come, and what a message says of its job."""

from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.job import State
from penstock.ledger import deliveries
from penstock.ledger.delivery import describe_message
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.session import reading
from tests.ledger.making import delivery, end, start, write


def test_states_are_told_of_all_jobs_that_have_a_row(database_url: str) -> None:
    began = datetime(2026, 11, 22, 12, tzinfo=UTC)
    running = start(delivery("1", token="a:1", worker="here", retries=3), started_at=began)
    write(database_url, running, end(delivery("2"), Outcome(state=State.CANCELLED), started_at=None))
    with reading(database_url) as connection:
        known = deliveries.states_of(connection, ["1", "2", "3"])
    assert sorted(known) == ["1", "2"]
    assert (known["1"].state, known["1"].worker, known["1"].retries) == (State.RUNNING, "here", 3)
    assert known["1"].started_at == began
    assert (known["2"].state, known["2"].started_at) == (State.CANCELLED, None)


def test_states_of_no_jobs_are_none(database_url: str) -> None:
    with reading(database_url) as connection:
        assert deliveries.states_of(connection, []) == {}


def test_a_message_says_what_its_job_is() -> None:
    told = {"root_id": "0", "enqueued_at": "2026-01-02T03:04:05+00:00", "tags": ["nightly"]}
    headers = {"id": "1", "task": "t", "retries": 2, **told}
    assert describe_message(headers, [[1], {"a": 2}, {}], {"routing_key": "web", "priority": 3}) == Delivery(
        id="1",
        task="t",
        queue="web",
        priority=3,
        args=[1],
        kwargs={"a": 2},
        retries=2,
        root_id="0",
        enqueued_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        tags=("nightly",),
    )


@pytest.mark.parametrize("body", [None, "text", [], [[1]], {"args": [1]}])
def test_a_message_with_an_unreadable_body_says_what_its_headers_say(body: Any) -> None:
    described = describe_message({"id": "1", "task": "t"}, body, {"routing_key": "web"})
    assert described == Delivery(id="1", task="t", queue="web")


@pytest.mark.parametrize("headers", [{}, {"id": None}, {"id": 7}, {"id": ""}])
def test_a_message_without_a_readable_id_is_nobodys(headers: dict[str, Any]) -> None:
    assert describe_message(headers, None, {"routing_key": "web"}) is None


def test_headers_that_bear_the_names_of_a_requests_own_attributes_do_no_harm() -> None:
    headers = {"id": "1", "headers": 5, "delivery_info": "x", "get": 1, "args": 2, "retries": "many", "eta": 9}
    assert describe_message(headers, None, {"routing_key": "web"}) == Delivery(id="1", task="(unknown)", queue="web")
