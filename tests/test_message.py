"""The wire form: what is not JSON is refused with the name of the argument, and never changed in silence."""

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import ArgumentError
from penstock.message import ASSUMED, MAX_DEPTH, Template, check, encode_arguments, sealed, unsealed

LIMIT = 1_000_000
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(args=st.lists(values, max_size=3), kwargs=st.dictionaries(st.text(), values, max_size=3))
def test_any_json_arrives_as_it_was_sent(args: list[Any], kwargs: dict[str, Any]) -> None:
    assert json.loads(f"[{encode_arguments('task', args, kwargs, LIMIT)}]") == [args, kwargs]


@dataclasses.dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (object(), "is a object, which is not JSON"),
        (datetime.now(UTC), "is a datetime, which is not JSON"),
        (b"bytes", "is a bytes, which is not JSON"),
        ({1, 2}, "is a set, which is not JSON"),
        (Point(1), "is a Point, which is not JSON"),
        (float("nan"), "is nan, which JSON has no word for"),
        (float("inf"), "is inf, which JSON has no word for"),
        pytest.param(10**5000, "cannot be written as JSON", id="5000 digits"),
        ({1: "one"}, "has the key 1, and JSON keys are strings"),
        ([{"deep": [1, {"er": b""}]}], r"\[0\]\['deep'\]\[1\]\['er'\] is a bytes"),
    ],
)
def test_what_is_not_json_is_refused_by_name(value: Any, complaint: str) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        encode_arguments("mail.send", [], {"user": value}, LIMIT)
    with pytest.raises(ArgumentError, match=r"mail\.send"):
        encode_arguments("mail.send", [0, value], {}, LIMIT)


def test_arguments_nested_too_deeply_are_refused() -> None:
    value: list[Any] = []
    for _ in range(MAX_DEPTH):
        value = [value]
    with pytest.raises(ArgumentError, match="flatten it"):
        encode_arguments("task", [value], {}, LIMIT)


def test_arguments_that_are_too_large_are_refused_with_both_sizes() -> None:
    with pytest.raises(ArgumentError, match=r"2,0\d\d bytes, more than 1,000.*PENSTOCK_MAX_ARGUMENT_BYTES"):
        encode_arguments("task", ["x" * 2000], {}, 1000)


def template(**options: Any) -> Template:
    return Template(**{"task": "t", "queue": "q", "priority": 0, "now": datetime.now(UTC), **options})


def written(raw: bytes) -> dict[str, Any]:
    """A sealed message as its reader sees it."""
    message = json.loads(sealed(raw, "tag"))
    return {**message, "body": json.loads(message["body"])}


@settings(max_examples=50, deadline=None)
@given(args=st.lists(values, max_size=3), kwargs=st.dictionaries(st.text(), values, max_size=3))
def test_any_arguments_arrive_in_a_message(args: list[Any], kwargs: dict[str, Any]) -> None:
    message = written(template().unsealed("1", check("t", args, kwargs, LIMIT)))
    assert message["body"][:2] == [args, kwargs]


@given(queue=st.text(min_size=1), task=st.text(min_size=1))
def test_any_names_arrive_in_a_message(queue: str, task: str) -> None:
    message = written(template(queue=queue, task=task).unsealed("1", check(task, (), {}, LIMIT)))
    assert message["headers"]["task"] == task
    assert message["properties"]["delivery_info"] == {"exchange": "", "routing_key": queue}


def test_long_arguments_are_not_repeated_whole_in_the_headers() -> None:
    headers = template().headers("1", check("t", ["x" * 5000], {"list": list(range(1000))}, LIMIT))
    assert len(headers["argsrepr"]) < 200
    assert len(headers["kwargsrepr"]) < 200


def test_short_arguments_are_shown_as_they_are() -> None:
    headers = template().headers("1", check("t", (1, "two"), {"three": None}, LIMIT))
    assert (headers["argsrepr"], headers["kwargsrepr"]) == ("(1, 'two')", "{'three': None}")


def test_headers_that_say_what_a_worker_assumes_are_left_out() -> None:
    message = written(template().unsealed("1", check("t", (), {}, LIMIT)))
    assert not ASSUMED.keys() - {"ignore_result"} & message["headers"].keys()
    assert None not in message["headers"].values()


def test_a_message_is_the_same_whether_or_not_somebody_looks_at_its_headers() -> None:
    common, arguments = template(eta=datetime.now(UTC), time_limits=(5.0, None)), check("t", (1,), {}, LIMIT)
    seen = common.unsealed_with(common.headers("1", arguments), "1", arguments)
    assert written(seen) == written(common.unsealed("1", arguments))


def test_what_a_listener_adds_to_the_headers_is_sent() -> None:
    common, arguments = template(), check("t", (), {}, LIMIT)
    headers = common.headers("1", arguments) | {"traceparent": "00-1", "retries": 2}
    message = written(common.unsealed_with(headers, "1", arguments))
    assert (message["headers"]["traceparent"], message["headers"]["retries"]) == ("00-1", 2)


def test_a_message_without_properties_of_its_own_is_json_too() -> None:
    assert written(unsealed("[]", {"id": "1"}, {}, "q", 3, json.dumps))["properties"]["priority"] == 3
