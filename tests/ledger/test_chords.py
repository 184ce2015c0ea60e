"""Chords on the ledger without a worker: what their messages say, who counts, and what starts the body."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from celery import chain, chord, group
from celery._state import _task_stack
from celery.app.task import Context
from celery.canvas import Signature, _chord
from celery.exceptions import ChordError
from celery.result import GroupResult
from sqlalchemy import select

from penstock.app import PenstockApp
from penstock.job import Reason, State
from penstock.ledger import letters, queries
from penstock.ledger.collecting import collecting
from penstock.ledger.groups import save_group
from penstock.ledger.recording.chords import add_part
from penstock.ledger.records import Encoded, FollowUp, Part, Record
from penstock.ledger.rows import DeadLetter, Outcome
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import Kind, counters, outbox
from penstock.ledger.unlocking import CHORD_SIZE, UNLOCK_TASK, part_of, unlock
from tests.ledger.making import delivery, end, write
from tests.ledger.test_waiting import counted

BODY = {"task": "t", "args": [], "kwargs": {}, "options": {"root_id": "root", "priority": 7}}


def add(*args: Any) -> Signature:
    return Signature("tests.add", args=args, immutable=True)


def total() -> Signature:
    return Signature("tests.total")


def sent(broker: redis.Redis, queue: str = "default") -> list[dict[str, Any]]:
    """Headers of the messages on a queue with their bodies, first in line first."""
    raws: Any = broker.lrange(queue, 0, -1)
    messages = [json.loads(raw) for raw in reversed(raws)]
    return [{**message["headers"], "body": json.loads(message["body"])} for message in messages]


# What messages say.

SHAPES: dict[str, Callable[[], Any]] = {
    "tasks": lambda: chord([add(1, 1), add(2, 2)], total()),
    "a generator": lambda: chord((add(i, i) for i in range(3)), total()),
    "chains": lambda: chord([chain(add(1, 1), add(2, 2)), add(3, 3)], total()),
    "a group": lambda: chord([group(add(1, 1), add(2, 2)), add(3, 3)], total()),
    "a group at the end of a chain": lambda: chord([chain(add(1, 1), group(add(2, 2), add(3, 3))), add(4, 4)], total()),
    "a chord": lambda: chord([chord([add(1, 1), add(2, 2)], total()), add(3, 3)], total()),
    "a chord with a group": lambda: chord([chord([add(1, 1)], group(total(), total())), add(3, 3)], total()),
    "a group before a task": lambda: chord([group(add(1, 1), add(2, 2)) | total(), add(3, 3)], total()),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_each_part_says_how_many_celery_counts(app: PenstockApp, broker: redis.Redis, shape: str) -> None:
    woven = SHAPES[shape]()
    expected = sum(_chord._descend(task) for task in getattr(woven.tasks, "tasks", woven.tasks))
    result = woven.apply_async()
    outer = [
        message
        for message in sent(broker)
        if (body := message["body"][2].get("chord")) and body["options"]["task_id"] == result.id
    ]
    assert outer
    assert {message["body"][2]["chord"][CHORD_SIZE] for message in outer} == {expected}


def test_nothing_but_the_parts_is_sent(app: PenstockApp, broker: redis.Redis) -> None:
    chord([add(1, 1), add(2, 2)], total()).apply_async()
    assert [message["task"] for message in sent(broker)] == ["tests.add"] * 2


def test_a_header_with_groups_is_saved_and_another_is_not(app: PenstockApp, broker: redis.Redis) -> None:
    plain = chord([add(1, 1), add(2, 2)], total()).apply_async()
    nested = SHAPES["a group at the end of a chain"]().apply_async()
    assert GroupResult.restore(plain.parent.id, app=app) is None
    kept = GroupResult.restore(nested.parent.id, app=app)
    assert [isinstance(member, GroupResult) for member in kept.results] == [True, False]


@pytest.mark.parametrize(
    ("id", "group_id", "body"),
    [
        ("1", "g", None),
        ("1", "g", "text"),
        ("1", "g", BODY),
        ("1", "g", BODY | {CHORD_SIZE: 0}),
        ("1", "g", BODY | {CHORD_SIZE: "2"}),
        ("1", "g", BODY | {CHORD_SIZE: True}),
        ("1", "g", BODY | {CHORD_SIZE: 2**31}),
        ("1", None, BODY | {CHORD_SIZE: 2}),
        ("1", 7, BODY | {CHORD_SIZE: 2}),
        (None, "g", BODY | {CHORD_SIZE: 2}),
    ],
)
def test_a_message_that_does_not_say_it_is_a_part_is_none(id: Any, group_id: Any, body: Any) -> None:
    assert part_of(id, group_id, 0, body, "default") is None


@pytest.mark.parametrize(("position", "kept"), [(0, 0), (7, 7), (None, None), ("7", None), (-1, None), (2**31, None)])
def test_a_part_keeps_its_place_if_it_is_one(position: Any, kept: int | None) -> None:
    part = part_of("1", "g", position, BODY | {CHORD_SIZE: 2}, "default")
    assert part is not None
    assert (part.position, part.total, json.loads(part.body)) == (kept, 2, BODY)


def test_a_part_travels_to_the_keeper_and_back() -> None:
    part = part_of("1", "g", None, BODY | {CHORD_SIZE: 2}, "default")
    assert part is not None
    told = end(delivery("1"), parts=(part,))
    assert Record.from_words(json.loads(json.dumps(told.to_words()))).parts == (part,)


# Who counts.


def part(job_id: str, *, of: str = "g", position: int | None = 0, total: int = 2, **body: Any) -> Part:
    return Part(
        counter=of,
        job_id=job_id,
        position=position,
        total=total,
        body=Encoded(json.dumps(BODY | body)),
        queue="default",
    )


def ended(url: str, *parts: Part) -> list[FollowUp]:
    """The messages that follow from the ends of these parts."""
    return write(url, *(end(delivery(each.job_id), parts=(each,)) for each in parts)).messages


def results_in(message: FollowUp) -> Any:
    return json.loads(json.loads(message.payload + b'"}}')["body"])[1]["result"]


def test_the_last_part_brings_the_job_that_starts_the_body(database_url: str) -> None:
    assert ended(database_url, part("a")) == []
    (message,) = ended(database_url, part("b", position=1))
    assert (message.key, message.job_id, message.task) == ("g:unlock", "g:unlock", UNLOCK_TASK)
    assert (message.queue, message.step, message.due) == ("default", 6, None)


def test_parts_stand_in_their_places_however_they_end(database_url: str) -> None:
    ended(database_url, part("c", position=2, total=3), part("a", position=0, total=3))
    (message,) = ended(database_url, part("b", position=1, total=3))
    assert results_in(message) == [[["a", None], None], [["b", None], None], [["c", None], None]]


def test_a_part_that_ends_twice_is_counted_once(database_url: str) -> None:
    ended(database_url, part("a"))
    assert ended(database_url, part("a")) == []
    assert len(ended(database_url, part("b"))) == 1
    assert ended(database_url, part("a"), part("b"), part("c")) == []


def test_a_header_that_was_saved_keeps_its_groups(database_url: str) -> None:
    members = [[["inner", None], [[["a", None], None], [["b", None], None]]], [["c", None], None]]
    with writing(database_url) as connection:
        save_group(connection, "g", [["g", None], members])
    (message,) = ended(database_url, *(part(id, total=3) for id in "cba"))
    assert results_in(message) == members


def test_a_part_that_was_added_is_waited_for_and_comes_last(database_url: str) -> None:
    with writing(database_url) as connection:
        add_part(connection, "g", 2)
    ended(database_url, part("b", position=1))
    with writing(database_url) as connection:
        add_part(connection, "g", 2)
    assert ended(database_url, part("a"), part("x", position=None)) == []
    with writing(database_url) as connection:
        save_group(connection, "g", [["g", None], [[["a", None], None], [["b", None], None]]])
    (message,) = ended(database_url, part("y", position=None))
    assert [id for (id, _), _ in results_in(message)] == ["a", "b", "x", "y"]


def test_nothing_is_added_to_a_chord_whose_body_is_on_its_way(database_url: str) -> None:
    ended(database_url, part("a"), part("b"))
    with writing(database_url) as connection:
        add_part(connection, "g", 2)
        (row,) = connection.execute(select(counters))
    assert (row.total, row.remaining) == (2, 0)


def test_the_job_that_starts_the_body_says_where_it_comes_from(database_url: str) -> None:
    (message,) = ended(database_url, part("a", total=1))
    headers = json.loads(message.payload + b'"}}')["headers"]
    assert (headers["id"], headers["parent_id"], headers["root_id"]) == ("g:unlock", "a", "root")
    assert headers["outbox"] == "g:unlock"


def test_a_body_that_does_not_say_where_it_comes_from_comes_from_where_its_parts_do(database_url: str) -> None:
    child = replace(part("a", total=1, options={}), root="grandmother")
    (message,) = ended(database_url, child)
    assert json.loads(message.payload + b'"}}')["headers"]["root_id"] == "grandmother"


@pytest.mark.parametrize(
    ("options", "step"), [({}, 0), ({"priority": 9}, 9), ({"priority": "9"}, 0), ({"priority": 99}, 9), (None, 0)]
)
def test_the_body_is_started_with_its_own_priority(database_url: str, options: Any, step: int) -> None:
    (message,) = ended(database_url, part("a", total=1, options=options))
    assert message.step == step


def test_a_group_with_an_id_of_any_length_starts_its_body(database_url: str) -> None:
    (message,) = ended(database_url, part("a", of="g" * 300, total=1))
    assert len(message.key) == 255
    assert json.loads(json.loads(message.payload + b'"}}')["body"])[0][0] == "g" * 300


def test_a_part_that_is_buried_is_counted_and_its_message_left_to_whoever_relays(database_url: str) -> None:
    letter = DeadLetter(
        id="entry",
        kind=Kind.BURIED,
        queue="default",
        step=0,
        reason="its process died 3 times",
        payload=b"{}",
        deliveries=3,
        at=datetime.now(UTC),
        job=delivery("a"),
        part=part("a", total=1),
    )
    with writing(database_url) as connection:
        letters.bury(connection, [letter])
        (waiting,) = connection.execute(select(outbox.c.key, outbox.c.published_at)).all()
    assert tuple(waiting) == ("g:unlock", None)


# How the body starts: Celery's own job, run here.


def joined(app: PenstockApp, message: FollowUp) -> Any:
    args, kwargs, _ = json.loads(json.loads(message.payload + b'"}}')["body"])
    return app.tasks[UNLOCK_TASK].apply(args, kwargs)


def test_all_parts_are_found_in_one_query(app: PenstockApp, broker: redis.Redis, database_url: str) -> None:
    body = Signature("tests.total", app=app)
    body.freeze("body")
    told = dict(json.loads(json.dumps(body)))
    write(database_url, *(end(delivery(f"j{n}"), Outcome(state=State.SUCCEEDED, result=n)) for n in range(100)))
    ids = [f"j{n}" for n in range(100)]
    message = unlock(part("j0", **told), ids, None, end().at)
    with counted(app) as statements:
        joined(app, message)
    assert len(statements) == 1
    assert [(each["id"], each["body"][0]) for each in sent(broker)] == [("body", [list(range(100))])]


def failed(app: PenstockApp, callback: Signature, group_id: str = "g") -> tuple[list[Record], list[Part]]:
    """What is told when the parts of a chord with this body have failed."""
    callback._app = app
    callback.freeze("body", group_id=group_id)
    told = json.loads(json.dumps(callback))
    with collecting("unlock") as collection:
        app.backend.chord_error_from_stack(told, ChordError("a part failed"))
    return collection.records, collection.parts


def test_a_body_that_cannot_start_is_a_failed_job_with_a_name(app: PenstockApp) -> None:
    (record,), _ = failed(app, Signature("tests.total", args=[7]))
    assert (record.delivery.id, record.delivery.task, record.delivery.group_id) == ("body", "tests.total", "g")
    assert record.outcome is not None
    assert record.outcome.failure is not None
    assert (record.outcome.state, record.outcome.failure.type) == (State.FAILED, "celery.exceptions.ChordError")


def test_every_job_of_a_body_that_cannot_start_fails(app: PenstockApp) -> None:
    for body, count in [
        (chain(total(), add(1, 1), add(2, 2)), 3),
        (group(total(), total()), 2),
        (chord([total(), total()], total()), 1),
        (chain(total(), group(add(1, 1), add(2, 2))), 3),
    ]:
        records, _ = failed(app, body)
        ids = [record.delivery.id for record in records]
        assert len(set(ids)) == len(ids) == count
        assert None not in ids


def test_a_body_that_is_part_of_another_chord_is_counted_there(app: PenstockApp) -> None:
    outer = {**total(), CHORD_SIZE: 2}
    for body, count in [
        (total(), 1),
        (chain(total(), add(1, 1)), 1),
        (group(total(), total()), 2),
        (chord([total(), total()], total()), 1),
    ]:
        body.freeze("body", group_id="outer", chord=outer)
        _, parts = failed(app, body, "outer")
        assert [each.counter for each in parts] == ["outer"] * count
        assert len({each.job_id for each in parts}) == count


def test_the_members_of_a_group_that_cannot_start_fail_with_the_error_itself(app: PenstockApp) -> None:
    error = ChordError("a part failed")
    error.__cause__ = ValueError("in the part")
    body = group(total(), total(), app=app)
    body.freeze("body")
    with collecting("unlock") as collection:
        app.backend.chord_error_from_stack(json.loads(json.dumps(body)), error)
    failures = [record.outcome.failure for record in collection.records if record.outcome]
    assert [each.type for each in failures if each] == ["ValueError"] * 2


def test_what_follows_the_body_in_a_chain_fails_with_it(app: PenstockApp) -> None:
    next_step = Signature("tests.next")
    next_step.freeze("next")
    records, _ = failed(app, Signature("tests.total", options={"chain": [dict(next_step)]}))
    assert [record.delivery.id for record in records] == ["body", "next"]


def errbacks_sent(broker: redis.Redis) -> list[Any]:
    return [(message["task"], message["body"][0]) for message in sent(broker)]


def test_errbacks_of_the_body_are_called_once_with_its_id(app: PenstockApp, broker: redis.Redis) -> None:
    def called(body: Signature) -> list[Any]:
        broker.flushdb()
        body._app = app
        body.freeze("body")
        app.backend.chord_error_from_stack(json.loads(json.dumps(body)), ChordError("x"))
        return errbacks_sent(broker)

    errback = Signature("tests.errback")
    assert called(total().on_error(errback)) == [("tests.errback", ["body"])]
    assert called(chain(total(), add(1, 1)).on_error(errback)) == [("tests.errback", ["body"])]
    assert len(called(group(total(), total()).on_error(errback))) == 2


# Ends outside of a collection.


@pytest.mark.parametrize(
    ("state", "kept"), [("SUCCESS", State.SUCCEEDED), ("FAILURE", State.FAILED), ("REVOKED", State.CANCELLED)]
)
def test_a_part_that_ends_where_nothing_is_collected_is_counted_at_once(
    app: PenstockApp, database_url: str, state: str, kept: State
) -> None:
    request = Context(id="a", task="t", group="g", group_index=0, chord=BODY | {CHORD_SIZE: 1}, delivery_info={})
    app.backend.on_chord_part_return(request, state, None)
    with reading(database_url) as connection:
        assert connection.execute(select(counters.c.remaining)).scalar_one() == 0
        row = queries.find_job(connection, "a")
    assert row is not None
    assert row.state is kept


def test_a_revoked_part_is_counted_by_who_hears_of_it(app: PenstockApp, database_url: str) -> None:
    request = Context(id="a", task="t", group="g", group_index=0, chord=BODY | {CHORD_SIZE: 1}, delivery_info={})
    app.backend.mark_as_revoked("a", "revoked", request)
    with reading(database_url) as connection:
        assert connection.execute(select(counters.c.remaining)).scalar_one() == 0
        row = queries.find_job(connection, "a")
    assert row is not None
    assert (row.state, row.reason) == (State.CANCELLED, Reason.REVOKED)


def test_adding_to_a_chord_that_somebody_else_looks_after_is_refused_as_by_celery(app: PenstockApp) -> None:
    task = app.tasks["celery.accumulate"]
    task.push_request(id="a", group="g", chord=dict(BODY), delivery_info={})
    _task_stack.push(task)
    try:
        with pytest.raises(NotImplementedError):
            task.add_to_chord(add(1, 1))
    finally:
        _task_stack.pop()
        task.pop_request()
