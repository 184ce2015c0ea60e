"""Real workers run bodies with the values that were given, and their results come back as they were returned."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import celery
import pytest
import redis
from celery import chain, group

from penstock import Job, JobFailed, as_ended
from penstock.errors import PenstockError, UnreadableResult
from penstock.operations.jobs.retry import Edited, retry_edited
from tests.codec import shop
from tests.codec.shop import Customer, Item, Page, Sku, Speed, Spot
from tests.codec.test_arguments import ID, WRITTEN, order
from tests.conftest import DATABASES, Live, NewLedger, deployment, producer
from tests.live import Worker

PATIENCE = 20
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=DATABASES)
def live(
    request: pytest.FixtureRequest, live_broker_url: str, new_ledger: NewLedger, tmp_path_factory: Any
) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    with new_ledger(request.param) as url, redis.Redis.from_url(live_broker_url) as connection:
        connection.flushdb()
        variables = deployment(live_broker_url, url, folder)
        with (
            producer(variables) as app,
            Worker(variables, folder / "worker.log", app="tests.codec.worker_app", children=1) as worker,
        ):
            yield Live(app, worker, variables)
        connection.flushdb()


def test_a_body_gets_what_was_given_and_its_result_comes_back(live: Live) -> None:
    job = shop.ship.enqueue(order(), Path("/door"), speed=Speed.EXPRESS, within=timedelta(hours=1))
    assert job.result(PATIENCE) == order(speed=Speed.EXPRESS, items=[Item(Sku("a"), Decimal("3.00"), 2)])


def test_models_sets_and_named_tuples_as_well(live: Live) -> None:
    ada = Customer(name="Ada", born=date(1815, 12, 10), creditLimit=Decimal("0.5"))
    job = shop.greet.enqueue(ada, {Spot(Decimal(1), Decimal(2))})
    assert job.result(PATIENCE) == (ada.model_copy(update={"credit": Decimal("1.5")}), {Spot(Decimal(1), Decimal(2))})


def test_the_ledger_has_plain_json_that_everybody_reads(live: Live) -> None:
    job = shop.days_of.enqueue({"a": datetime(2026, 5, 1)}, "last")
    (ended,) = as_ended([job], PATIENCE)
    assert ended.result(0) == Page([date(2026, 5, 1)])
    assert ended.row is not None
    assert ended.row.args == [{"a": "2026-05-01T00:00:00"}, "last"]
    assert ended.row.result == {"rows": ["2026-05-01"], "following": None}
    assert live.app.AsyncResult(job.id).get() == ended.row.result


def test_a_stock_producer_sends_plain_json(live: Live) -> None:
    with celery.Celery(broker=live.app.settings.redis_url, set_as_current=False) as stock:
        sent = stock.send_task(shop.ship.name, (WRITTEN, "/door"), {"within": 60}, queue="default")
    job: Job[shop.Order] = Job(sent.id, shop.ship.name)
    assert job.result(PATIENCE).items[0].price == Decimal("3.00")


def test_what_a_stock_producer_sends_wrong_fails_before_the_body_with_the_field_named(live: Live) -> None:
    with celery.Celery(broker=live.app.settings.redis_url, set_as_current=False) as stock:
        wrong = {**WRITTEN, "items": [{"sku": "a", "price": "1"}, {"sku": "a", "price": "much"}]}
        sent = stock.send_task(shop.ship.name, (wrong, "/door"), queue="default")
    with pytest.raises(JobFailed, match=r"order\.items\[1\]\.price: 'much' is no Decimal") as raised:
        Job[Any](sent.id, shop.ship.name).result(PATIENCE)
    assert raised.value.error_type == "penstock.errors.ArgumentError"


def test_a_retry_gets_the_same_values(live: Live) -> None:
    assert shop.double_at_second.enqueue(Decimal("0.1")).result(PATIENCE) == Decimal("0.2")


@pytest.mark.parametrize("value", [None, 7, ["a"]], ids=str)
def test_a_result_that_is_not_what_was_promised_fails_the_job_and_is_not_tried_again(live: Live, value: Any) -> None:
    job = shop.promise_a_decimal.enqueue(value)
    with pytest.raises(JobFailed, match=r"promise_a_decimal returned result: .* where a Decimal is needed") as raised:
        job.result(PATIENCE)
    assert raised.value.error_type == "penstock.errors.UnserialisableResult"
    assert job.row is not None
    assert job.row.retries == 0


def test_results_go_from_one_task_of_a_canvas_to_the_next(live: Live) -> None:
    doubled = chain(shop.double.s(Decimal("0.1")), shop.double.s(), shop.double.s())
    assert doubled.apply_async().get(PATIENCE) == "0.8"
    summed = group(shop.double.s(Decimal(each)) for each in range(3)) | shop.sum_of.s()
    assert summed.apply_async().get(PATIENCE) == "6"


def test_a_job_is_done_again_with_edited_arguments_only_if_they_can_be_read(live: Live) -> None:
    job = shop.double.enqueue(Decimal(1))
    job.result(PATIENCE)
    with pytest.raises(PenstockError, match=r"do not fit its task .*double: amount: 'much' is no Decimal"):
        retry_edited(live.app, job.id, Edited(args=["much"]), actor="test")
    done = retry_edited(live.app, job.id, Edited(args=["2.5"]), actor="test")
    assert Job[Decimal](done.new, shop.double.name).result(PATIENCE) == Decimal("5.0")


def test_a_recorded_result_that_the_annotation_no_longer_fits_is_named(live: Live) -> None:
    job: Job[Any] = shop.untyped.enqueue({"a": ID.hex})
    assert job.result(PATIENCE) == {"a": ID.hex}
    assert job.row is not None
    object.__setattr__(job.row, "task", shop.double.name)
    with pytest.raises(UnreadableResult, match=r"double: result: a dict, where a Decimal is needed; as plain JSON"):
        job._value(0)
