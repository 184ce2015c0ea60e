"""The wire form: what is not JSON is refused with the name of the argument, and never changed in silence."""

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import ArgumentError
from penstock.message import MAX_DEPTH, build, encode_arguments

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


def test_long_arguments_are_not_repeated_whole_in_the_headers() -> None:
    message = build(
        id="1",
        task="t",
        queue="q",
        priority=0,
        args=["x" * 5000],
        kwargs={},
        now=datetime.now(UTC),
        max_bytes=LIMIT,
    )
    assert len(message.headers["argsrepr"]) < 200
