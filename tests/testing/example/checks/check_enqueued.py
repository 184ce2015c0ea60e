"""What was enqueued."""

from datetime import UTC, datetime, timedelta
from unittest.mock import ANY

import pytest
from celery import chain, group
from shop.tasks import Order, charge, count_down, thank, welcome
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

import penstock
from penstock import enqueue_many
from penstock.testing import Jobs


def test_a_job_is_seen_by_its_arguments(jobs: Jobs) -> None:
    welcome.enqueue(7)
    job = jobs.assert_enqueued(welcome, user_id=7, queue="mail", count=1)
    assert (job.args, job.arguments) == ((7,), {"user_id": 7, "template": "default"})


def test_each_test_begins_with_nothing(jobs: Jobs) -> None:
    jobs.assert_enqueued_nothing()
    assert jobs.drain().attempts == []


def test_arguments_may_be_any_of_a_kind(jobs: Jobs) -> None:
    charge.enqueue(Order(1, 250))
    jobs.assert_enqueued(charge, Order(1, 250))
    jobs.assert_enqueued(charge, order=ANY)
    jobs.assert_enqueued(charge, order=Order)
    jobs.assert_enqueued(charge, order=lambda order: order.cents > 200)
    jobs.assert_not_enqueued(charge, order=lambda order: order.cents > 300)


def test_every_way_to_enqueue_is_seen(jobs: Jobs) -> None:
    welcome.delay(1)
    enqueue_many(welcome.bind(number) for number in (2, 3))
    twin = jobs.app.tasks[welcome.name]
    twin.delay(4)
    twin.apply_async((5,), queue="slow", countdown=60)
    group(welcome.si(6), welcome.si(7)).apply_async()
    with jobs.app.connection_for_write() as connection, connection.Producer() as producer:
        twin.apply_async((8,), producer=producer)
    assert [job.arguments["user_id"] for job in jobs.enqueued(welcome)] == [1, 2, 3, 4, 5, 6, 7, 8]
    jobs.assert_enqueued(welcome, 5, queue="slow", delay=60)


def test_that_there_is_no_job_is_said_with_the_same_options(jobs: Jobs) -> None:
    welcome.options(priority=3, delay=60).enqueue(7)
    jobs.assert_not_enqueued(welcome, priority=4)
    jobs.assert_not_enqueued(welcome, delay=90)
    for options in ({"priority": 3}, {"delay": 60.0}):
        with pytest.raises(AssertionError, match="1 job was enqueued like"):
            jobs.assert_not_enqueued(welcome, **options)  # type: ignore[arg-type]


def test_a_parameter_that_the_task_has_not_is_no_proof_of_anything(jobs: Jobs) -> None:
    welcome.enqueue(7)
    with pytest.raises(ValueError, match="has no parameter userid"):
        jobs.assert_not_enqueued(welcome, userid=7)


def test_a_time_without_a_zone_is_refused(jobs: Jobs) -> None:
    with pytest.raises(ValueError, match="give it a time zone"):
        jobs.assert_enqueued(welcome, at=datetime(2026, 5, 1))


def test_only_the_first_of_a_chain_is_enqueued_before_it_runs(jobs: Jobs) -> None:
    chain(welcome.si(1), thank.si(2)).apply_async()
    jobs.assert_enqueued(welcome, 1)
    jobs.assert_not_enqueued(thank)
    jobs.drain()
    jobs.assert_enqueued(thank, 2, count=1)


def test_options_are_compared(jobs: Jobs) -> None:
    at = datetime.now(UTC) + timedelta(hours=2)
    welcome.options(at=at, priority=3, tags=["vip"]).enqueue(7)
    job = jobs.assert_enqueued(welcome, at=at, priority=3, tags=["vip"], within=7201)
    assert job.due is not None
    with pytest.raises(AssertionError, match="within: wanted 60 s from now at the latest, got in 7200 s"):
        jobs.assert_enqueued(welcome, within=60)
    with pytest.raises(AssertionError, match="tags: wanted slow among them, got vip"):
        jobs.assert_enqueued(welcome, tags=["slow"])


def test_a_job_of_an_open_transaction_is_told_as_uncommitted(jobs: Jobs) -> None:
    engine = create_engine(jobs.database_url)
    with Session(engine) as session:
        welcome.options(session=session).enqueue(7)
        assert not jobs.assert_enqueued(welcome, user_id=7, committed=False).is_committed
        assert "in a transaction that nobody has committed" in str(jobs.drain())
        with pytest.raises(AssertionError, match="in an uncommitted transaction"):
            jobs.assert_enqueued(welcome, user_id=7, committed=True)
        session.commit()
    jobs.assert_enqueued(welcome, user_id=7, committed=True, count=1)
    assert len(jobs.drain().succeeded) == 1
    jobs.assert_enqueued(welcome, count=1)
    engine.dispose()


def test_a_job_of_a_transaction_that_was_rolled_back_is_none(jobs: Jobs) -> None:
    engine = create_engine(jobs.database_url)
    with Session(engine) as session:
        with session.begin_nested() as savepoint:
            welcome.options(session=session).enqueue(1)
            savepoint.rollback()
        with penstock.outbox(session):
            jobs.app.tasks[welcome.name].delay(2)
        assert [job.arguments["user_id"] for job in jobs.enqueued()] == [2]
        session.rollback()
    jobs.assert_enqueued_nothing()
    engine.dispose()


def test_coroutines_enqueue_as_well(jobs: Jobs) -> None:
    import asyncio

    asyncio.run(count_down.aenqueue(3))
    jobs.assert_enqueued(count_down, number=3)


def test_a_parameter_may_be_called_as_an_option(jobs: Jobs) -> None:
    welcome.enqueue(7)
    with pytest.raises(AssertionError, match="queue: wanted 'x', got no such argument"):
        jobs.assert_enqueued(welcome, arguments={"queue": "x"})
