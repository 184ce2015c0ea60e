"""Which messages take the short way."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.worker import state
from hypothesis import given
from hypothesis import strategies as st

from penstock.broker import envelope
from penstock.broker.scripts import Claimed
from penstock.engine.running.duties import TaskDuties
from penstock.engine.running.opening import Job, opened

app = Celery("opening", set_as_current=False)
app.conf.task_acks_late = True


@app.task(name="plain")
def plain() -> None:
    """Nothing unusual."""


@app.task(name="limited", rate_limit="1/s")
def limited() -> None:
    """Has a rate limit."""


@app.task(name="early", acks_late=False)
def early() -> None:
    """Is acknowledged before it begins."""


@pytest.fixture
def known() -> dict[str, TaskDuties]:
    app.finalize()
    for task in app.tasks.values():
        task.__trace__ = None
    return {name: TaskDuties(task, soft_limit=None, hard_limit=None) for name, task in app.tasks.items()}


@pytest.fixture
def revoked_stamp() -> Iterator[None]:
    state.revoked_stamps["tenant"] = ["7"]
    yield
    state.revoked_stamps.clear()


def message(headers: dict[str, Any] | None = None, body: Any = ((1,), {}, {}), **changes: Any) -> bytes:
    """A message as a producer sends it."""
    sent = {
        "body": body if isinstance(body, str) else json.dumps(body),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"id": "1", "task": "plain", **(headers or {})},
        "properties": {"body_encoding": "utf-8", "delivery_tag": "t", "delivery_info": {"routing_key": "q"}},
        **changes,
    }
    return json.dumps(sent).encode()


def open_it(raw: bytes, known: dict[str, TaskDuties], deliveries: int = 0) -> Job:
    return opened(Claimed("7:3", "q", raw, deliveries, 0), known, 0.0)


def test_the_first_delivery_of_a_known_task_is_plain(known: dict[str, TaskDuties]) -> None:
    job = open_it(message(), known)
    assert job.is_plain
    assert (job.body, job.number, job.step, job.token) == ([[1], {}, {}], 7, 3, "7:3")


def test_a_body_in_base64_is_plain_as_well(known: dict[str, TaskDuties]) -> None:
    body = base64.b64encode(b"[[2], {}, {}]").decode()
    properties = {"body_encoding": "base64", "delivery_tag": "t", "delivery_info": {}}
    assert open_it(message(body=body, properties=properties), known).body == [[2], {}, {}]


@pytest.mark.parametrize(
    "headers",
    [
        {"task": "limited"},
        {"task": "early"},
        {"task": "unknown"},
        {"task": 7},
        {"id": ""},
        {"id": [1]},
        {"retries": 1},
        {"eta": "2026-11-22T08:00:00+00:00"},
        {"expires": "2026-11-22T08:00:00+00:00"},
        {"outbox": "1"},
        {"stamped_headers": ["tenant"]},
        {"replaced_task_nesting": 1},
        {"timelimit": "soon"},
        {"timelimit": [1]},
        {"timelimit": [True, None]},
    ],
    ids=repr,
)
def test_whatever_is_asked_beyond_that_goes_celerys_way(headers: dict[str, Any], known: dict[str, TaskDuties]) -> None:
    assert not open_it(message(headers), known).is_plain


@pytest.mark.parametrize(
    "body",
    [
        "not json",
        "{}",
        "[[1], {}]",
        "[{}, {}, {}]",
        "[[1], [], {}]",
        "[[NaN], {}, {}]",
        '[[{"__type__": "uuid"}], {}, {}]',
    ],
)
def test_a_body_that_only_celery_can_judge_goes_celerys_way(body: str, known: dict[str, TaskDuties]) -> None:
    assert not open_it(message(body=body), known).is_plain


def test_a_message_that_was_delivered_before_goes_celerys_way(known: dict[str, TaskDuties]) -> None:
    assert not open_it(message(), known, deliveries=1).is_plain


def test_another_content_type_goes_celerys_way(known: dict[str, TaskDuties]) -> None:
    assert not open_it(message(**{"content-type": "application/x-yaml"}), known).is_plain


def test_no_message_is_plain_while_stamps_are_revoked(known: dict[str, TaskDuties], revoked_stamp: None) -> None:
    assert not open_it(message(), known).is_plain


@pytest.mark.parametrize("raw", [b"not json", b"[]", b"{}", b'{"body": "", "properties": 7}', b"\xff"])
def test_what_nobody_can_read_is_unreadable(raw: bytes, known: dict[str, TaskDuties]) -> None:
    with pytest.raises(envelope.Unreadable):
        open_it(raw, known)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(args=st.lists(values, max_size=3), kwargs=st.dictionaries(st.text(), values, max_size=3))
def test_arguments_are_read_as_python_reads_them(args: list[Any], kwargs: dict[str, Any]) -> None:
    """Big integers, floats to the last bit, and texts with anything in them."""
    known = {"plain": TaskDuties(app.tasks["plain"], soft_limit=None, hard_limit=None)}
    raw = message(body=[args, kwargs, {}])
    job = open_it(raw, known)
    expected = json.loads(json.loads(raw)["body"])
    if job.is_plain:  # What msgspec refuses, as half of a surrogate pair, is left to Python's decoder.
        assert repr(job.body) == repr(expected)
