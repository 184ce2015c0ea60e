"""Until when a job may start: one time on the wire, made of two options, and anew for each retry."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from penstock import enqueue_many
from penstock.app import PenstockApp
from penstock.expiry import expiry, expiry_of_send
from penstock.message import FINAL_EXPIRES, SCHEDULE_TIMEOUT
from tests import jobs
from tests.test_client import waiting

NOON = datetime(2040, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_a_job_expires_by_whichever_time_comes_first() -> None:
    assert expiry(NOON, None, None) == (None, {})
    assert expiry(NOON, None, NOON) == (NOON, {})
    assert expiry(NOON, 60, None) == (NOON + MINUTE, {SCHEDULE_TIMEOUT: 60})
    both = {SCHEDULE_TIMEOUT: 60, FINAL_EXPIRES: (NOON + MINUTE / 2).isoformat()}
    assert expiry(NOON, 60, NOON + MINUTE / 2) == (NOON + MINUTE / 2, both)
    assert expiry(NOON, 60, NOON + 2 * MINUTE).at == NOON + MINUTE


def test_a_timeout_that_is_longer_than_time_is_none() -> None:
    assert expiry(NOON, 1e300, None).at is None


def test_a_retry_may_wait_as_long_as_the_first_message_might() -> None:
    first = expiry_of_send({"eta": NOON}, 60, None)
    later = expiry_of_send({"eta": NOON + 9 * MINUTE, "headers": first.headers, "expires": "old"}, None, None)
    assert later == (NOON + 10 * MINUTE, first.headers)


def test_a_retry_of_a_job_that_expires_for_good_expires_then() -> None:
    first = expiry_of_send({"eta": NOON, "expires": NOON + 5 * MINUTE}, 60, None)
    assert first.at == NOON + MINUTE
    later = expiry_of_send({"eta": NOON + 9 * MINUTE, "headers": first.headers, "expires": first.at}, 60, None)
    assert later == (NOON + 5 * MINUTE, first.headers)


def test_what_a_stock_producer_has_said_of_expiry_holds_for_good() -> None:
    """Its first message has none of our headers, and says when it expires as Celery does."""
    told = {"eta": NOON, "headers": {"tenant": "a"}, "expires": (NOON + MINUTE / 2).isoformat()}
    assert expiry_of_send(told, 60, None).at == NOON + MINUTE / 2


@given(
    nonsense=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)
)
def test_headers_of_nonsense_cost_no_retry(nonsense: Any) -> None:
    headers = {SCHEDULE_TIMEOUT: nonsense, FINAL_EXPIRES: nonsense}
    made = expiry_of_send({"countdown": 1, "headers": headers}, 60, None)
    assert made.at is None or made.at.tzinfo is not None
    assert expiry_of_send({"headers": headers}, None, None).headers.keys() <= headers.keys()


# -- on the wire ---------------------------------------------------------------------------------------------------


def by_enqueue(options: dict[str, Any]) -> None:
    jobs.add.options(**options).enqueue(1, 2)


def by_enqueue_many(options: dict[str, Any]) -> None:
    enqueue_many([jobs.add.options(**options).bind(1, 2)])


@pytest.mark.parametrize("send", [by_enqueue, by_enqueue_many])
@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({"schedule_timeout": 60}, 60),
        ({"schedule_timeout": 60, "delay": 300}, 360),
        ({"schedule_timeout": 60, "delay": 300, "expires": 310}, 310),
        ({"schedule_timeout": 60, "at": datetime(2020, 1, 1, tzinfo=UTC)}, 60),
    ],
)
def test_the_header_that_every_worker_knows_says_it(
    app: PenstockApp,
    broker: redis.Redis,
    send: Callable[[dict[str, Any]], None],
    options: dict[str, Any],
    seconds: float,
) -> None:
    send(options)
    assert abs(expires_in(broker) - seconds) < 20


def expires_in(broker: redis.Redis) -> float:
    """Seconds, of the only message that waits."""
    at = datetime.fromisoformat(waiting(broker)["headers"]["expires"])
    return (at - datetime.now(UTC)).total_seconds()


def test_celerys_own_call_has_the_timeout_of_the_declaration(app: PenstockApp, broker: redis.Redis) -> None:
    app.tasks[jobs.hasty.name].apply_async(countdown=300)
    assert abs(expires_in(broker) - 330) < 20
