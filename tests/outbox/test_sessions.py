"""Jobs in the transactions of the application: no commit, no job; commit, a job for certain."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import signals
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, insert, select, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

import penstock
from penstock import enqueue_many
from penstock.app import PenstockApp
from penstock.errors import ArgumentError, DeclarationError, OutboxError
from penstock.job import State
from penstock.ledger.collecting import collecting, following_up
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import outbox as table
from tests import jobs
from tests.conftest import deployment, producer
from tests.outbox.ground import Ground

users = Table("users", MetaData(), Column("id", Integer, primary_key=True))


@pytest.fixture
def engine(app: PenstockApp, ground: Ground) -> Iterator[Engine]:
    """The application's own engine for the ledger's database, with a table of its own."""
    made = create_engine(ground.database_url)
    users.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as opened:
        yield opened


def rows(ground: Ground) -> list[Any]:
    with reading(ground.database_url) as connection:
        return list(connection.execute(select(table).order_by(table.c.number)))


def test_a_committed_job_is_in_the_outbox_with_its_message(ground: Ground, session: Session) -> None:
    job = jobs.add.options(session=session, queue="mail", priority=7).enqueue(1, right=2)
    session.commit()
    (row,) = rows(ground)
    assert (row.key, row.job_id, row.task, row.queue, row.step) == (job.id, job.id, "tests.jobs.add", "mail", 6)
    message = json.loads(row.payload + b'tag"}}')
    assert message["headers"]["id"] == message["headers"]["outbox"] == job.id
    assert json.loads(message["body"])[:2] == [[1], {"right": 2}]


def test_nothing_is_in_the_outbox_without_a_commit(ground: Ground, session: Session) -> None:
    jobs.add.options(session=session).enqueue(1, 2)
    assert rows(ground) == []
    session.rollback()
    assert rows(ground) == []


def test_nothing_goes_to_redis_by_itself(ground: Ground, session: Session) -> None:
    jobs.add.options(session=session).enqueue(1, 2)
    session.commit()
    assert ground.client.dbsize() == 0


def test_the_job_shares_the_fate_of_what_the_application_writes(ground: Ground, session: Session) -> None:
    session.execute(insert(users).values(id=1))
    jobs.add.options(session=session).enqueue(1, 2)
    savepoint = session.begin_nested()
    session.execute(insert(users).values(id=2))
    jobs.add.options(session=session).enqueue(3, 4)
    savepoint.rollback()
    session.commit()
    assert session.execute(select(users.c.id)).scalars().all() == [1]
    assert len(rows(ground)) == 1


def test_a_connection_is_as_good_as_a_session(ground: Ground, engine: Engine) -> None:
    with engine.begin() as connection:
        jobs.add.options(session=connection).enqueue(1, 2)
        assert rows(ground) == [] or engine.dialect.name == "sqlite"
    assert len(rows(ground)) == 1


def test_so_is_a_registry_of_sessions(ground: Ground, engine: Engine) -> None:
    registry = scoped_session(sessionmaker(engine))
    jobs.add.options(session=registry).enqueue(1, 2)
    registry.commit()
    registry.remove()
    assert len(rows(ground)) == 1


def test_many_jobs_share_one_transaction(ground: Ground, session: Session) -> None:
    made = enqueue_many((jobs.add.bind(number, 0) for number in range(2500)), session=session)
    session.commit()
    assert [row.job_id for row in rows(ground)] == [job.id for job in made]


def test_a_call_that_does_not_fit_says_what_is_in_the_transaction(session: Session) -> None:
    calls = [jobs.add.bind(1, 2), jobs.add.bind(1, 2), jobs.add.bind(1, object())]  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"call 3.*calls 1 to 2 were put into the session's transaction"):
        enqueue_many(calls, chunk=2, session=session)


def test_a_bound_call_refuses_a_session_which_enqueue_many_would_not_see(session: Session) -> None:
    with pytest.raises(DeclarationError, match="enqueue_many"):
        jobs.add.options(session=session).bind(1, 2)


def test_celerys_own_calls_go_there_inside_of_the_block(ground: Ground, session: Session, app: PenstockApp) -> None:
    task = app.tasks["tests.jobs.add"]
    with penstock.outbox(session):
        first = task.delay(1, 2)
        second = task.apply_async((1, 2), countdown=60, priority=3, queue="mail")
    session.commit()
    kept = rows(ground)
    assert [row.job_id for row in kept] == [first.id, second.id]
    assert (kept[1].queue, kept[1].step) == ("mail", 3)
    assert timedelta(seconds=50) < kept[1].due - datetime.now(UTC) <= timedelta(seconds=60)
    assert json.loads(kept[0].payload + b'tag"}}')["headers"]["outbox"] == first.id
    assert ground.client.dbsize() == 0


def test_our_calls_go_there_as_well(ground: Ground, session: Session) -> None:
    with penstock.outbox(session):
        jobs.add.enqueue(1, 2)
        enqueue_many([jobs.add.bind(3, 4)])
    session.commit()
    assert len(rows(ground)) == 2


def test_after_the_block_calls_go_to_redis_again(ground: Ground, session: Session, app: PenstockApp) -> None:
    with penstock.outbox(session):
        pass
    jobs.add.enqueue(1, 2)
    app.tasks["tests.jobs.add"].delay(1, 2)
    assert ground.client.llen("default") == 2
    assert rows(ground) == []


def test_a_send_that_the_outbox_cannot_keep_is_refused(session: Session, app: PenstockApp) -> None:
    with penstock.outbox(session), pytest.raises(OutboxError, match="compression"):
        app.tasks["tests.jobs.add"].apply_async((1, 2), compression="gzip")


def test_a_chain_starts_with_its_first_job(ground: Ground, session: Session, app: PenstockApp) -> None:
    with penstock.outbox(session):
        (jobs.add.s(1, 2) | jobs.add.s(3)).apply_async()
    session.commit()
    (row,) = rows(ground)
    assert json.loads(json.loads(row.payload + b'tag"}}')["body"])[2]["chain"]


def test_an_id_that_waits_already_is_refused_and_the_transaction_goes_on(
    ground: Ground, session: Session, app: PenstockApp
) -> None:
    task = app.tasks["tests.jobs.add"]
    with penstock.outbox(session):
        task.apply_async((1, 2), task_id="mine")
        with pytest.raises(OutboxError, match="mine is in the outbox already"):
            task.apply_async((1, 2), task_id="mine")
    session.commit()
    assert [row.key for row in rows(ground)] == ["mine"]


@pytest.mark.parametrize("id", ["x" * 256, "a\x00b"])
def test_an_id_that_sql_cannot_keep_is_refused_and_the_transaction_goes_on(
    ground: Ground, session: Session, app: PenstockApp, id: str
) -> None:
    with penstock.outbox(session), pytest.raises(OutboxError, match="job_id"):
        app.tasks["tests.jobs.add"].apply_async((1, 2), task_id=id)
    session.execute(text("SELECT 1"))


def test_tracing_tools_see_the_job_and_may_change_its_headers(ground: Ground, session: Session) -> None:
    def mark(headers: dict[str, Any], **_: Any) -> None:
        headers["trace"] = "yes"

    signals.before_task_publish.connect(mark)
    try:
        jobs.add.options(session=session).enqueue(1, 2)
    finally:
        signals.before_task_publish.disconnect(mark)
    session.commit()
    headers = json.loads(rows(ground)[0].payload + b'tag"}}')["headers"]
    assert (headers["trace"], headers["outbox"]) == ("yes", headers["id"])


def test_a_copied_header_does_not_make_a_message_one_of_the_outbox(ground: Ground, app: PenstockApp) -> None:
    app.tasks["tests.jobs.add"].apply_async((1, 2), headers={"outbox": "another"})
    assert "outbox" not in json.loads(ground.client.lindex("default", 0))["headers"]


def test_a_retry_does_not_go_into_a_session_of_the_body(ground: Ground, session: Session, app: PenstockApp) -> None:
    with penstock.outbox(session):
        app.tasks["tests.jobs.add"].apply_async((1, 2), task_id="mine", retries=1)
    assert ground.client.llen("default") == 1


def test_nor_does_anything_else_that_is_part_of_the_running_jobs_outcome(
    ground: Ground, session: Session, app: PenstockApp
) -> None:
    with collecting("mine") as collection, penstock.outbox(session):
        collection.is_on_the_books = True
        with following_up():
            app.tasks["tests.jobs.add"].delay(1, 2)
    session.commit()
    assert (rows(ground), len(collection.follow_ups)) == ([], 1)


# -- sessions that cannot take a job --------------------------------------------------------------------------------


def test_a_database_that_is_not_the_ledgers_is_named_with_the_remedy(app: PenstockApp) -> None:
    with Session(create_engine("sqlite://")) as elsewhere, pytest.raises(OutboxError, match="DATABASE_URL"):
        jobs.add.options(session=elsewhere).enqueue(1, 2)


def test_a_table_of_that_name_does_not_make_a_ledger(app: PenstockApp) -> None:
    with Session(create_engine("sqlite://")) as elsewhere:
        elsewhere.execute(text("CREATE TABLE outbox (id INTEGER, payload TEXT)"))
        with pytest.raises(OutboxError, match="DATABASE_URL"):
            jobs.add.options(session=elsewhere).enqueue(1, 2)


def test_a_database_is_looked_at_once_and_then_a_job_costs_one_statement(session: Session, engine: Engine) -> None:
    from sqlalchemy import event

    jobs.add.options(session=session).enqueue(1, 2)
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *call: seen.append(call[2]))
    jobs.add.options(session=session).enqueue(1, 2)
    assert len(seen) == 1


def test_a_session_that_is_bound_by_table_alone_is_told_what_it_lacks(engine: Engine) -> None:
    with Session(binds={users: engine}) as bound, pytest.raises(OutboxError, match="bind"):
        jobs.add.options(session=bound).enqueue(1, 2)


def test_what_is_no_session_is_refused(engine: Engine) -> None:
    with pytest.raises(OutboxError, match="Engine is no session"):
        jobs.add.options(session=engine).enqueue(1, 2)  # type: ignore[arg-type]


def test_a_tenants_schema_is_not_the_ledgers(ground: Ground, engine: Engine) -> None:
    with Session(engine.execution_options(schema_translate_map={None: "tenant"})) as tenants:
        jobs.add.options(session=tenants).enqueue(1, 2)
        tenants.commit()
    assert len(rows(ground)) == 1


def test_an_application_needs_few_rights(postgresql_ground: Ground, tmp_path: Path) -> None:
    ground, role = postgresql_ground, f"shop_{uuid.uuid4().hex[:8]}"
    with writing(ground.database_url) as connection:
        for statement in (
            f"CREATE ROLE {role}",
            f"GRANT INSERT, SELECT ON outbox TO {role}",
            f"GRANT USAGE ON SEQUENCE outbox_number_seq TO {role}",
        ):
            connection.execute(text(statement))
    shops = create_engine(ground.database_url)
    with producer(deployment(ground.broker_url, ground.database_url, tmp_path)), Session(shops) as session:
        session.execute(text(f"SET LOCAL ROLE {role}"))
        jobs.add.options(session=session).enqueue(1, 2)
        enqueue_many([jobs.add.bind(1, 2), jobs.add.bind(3, 4)], session=session)
        session.commit()
    shops.dispose()
    assert len(rows(ground)) == 3
    with writing(ground.database_url) as connection:
        connection.execute(text(f"DROP OWNED BY {role}"))
        connection.execute(text(f"DROP ROLE {role}"))


# -- what a job says of itself --------------------------------------------------------------------------------------


def test_a_job_that_waits_for_its_relay_is_queued(session: Session) -> None:
    job = jobs.add.options(session=session).enqueue(1, 2)
    assert job.refresh().state is None
    session.commit()
    assert job.refresh().state is State.QUEUED


def test_a_job_that_waits_for_its_time_is_scheduled(session: Session) -> None:
    job = jobs.add.options(session=session, delay=60).enqueue(1, 2)
    session.commit()
    assert job.refresh().state is State.SCHEDULED
