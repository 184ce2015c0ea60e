"""Tags: which words are some, and what a message that anyone may have written makes of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import tags

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=30)
)


@pytest.mark.parametrize("given", [(), ("nightly",), ["nightly", "customer-7"], ("größe", "a,b;c=d"), ("x" * 64,) * 10])
def test_a_few_words_are_tags(given: Any) -> None:
    assert tags.problem_of(given) is None


@pytest.mark.parametrize("given", ["nightly", None, 7, ("",), ("a b",), ("a\n",), ("x" * 65,), (7,), ("x",) * 11])
def test_what_is_none_is_told_with_what_is_allowed(given: Any) -> None:
    assert tags.problem_of(given) == f"tags={given!r}: at most 10 words of 1 to 64 characters, without spaces"


@given(ANYTHING)
def test_whatever_a_header_says_becomes_tags(told: Any) -> None:
    made = tags.of_header(told)
    assert tags.problem_of(made) is None
    assert len(set(made)) == len(made)


@given(
    st.lists(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=64), max_size=10, unique=True)
)
def test_tags_come_through_a_header_and_the_ledger_as_they_are(words: list[str]) -> None:
    assert tags.of_header(words) == tuple(words)
    assert tags.of_text(tags.to_text(words)) == tuple(words)


@pytest.mark.parametrize(
    ("told", "made"),
    [
        ("nightly", ("nightly",)),
        (["a b", "c\td"], ("a_b", "c_d")),
        (["x" * 100], ("x" * 64,)),
        ([7, None, {"a": 1}, "a"], ("7", "a")),
        ({"a": 1}, ()),
        (["b", "a", "b"], ("b", "a")),
        ([str(number) for number in range(50)], tuple(str(number) for number in range(10))),
    ],
)
def test_what_a_header_says_wrongly_is_found_by_what_is_nearest(told: Any, made: tuple[str, ...]) -> None:
    assert tags.of_header(told) == made


def test_one_tag_is_found_as_a_part_of_the_text() -> None:
    text = tags.to_text(("nightly", "customer-7"))
    assert text == " nightly customer-7 "
    assert " customer-7 " in text
    assert " customer " not in text


def test_no_tags_are_nothing() -> None:
    assert tags.to_text(()) is None
    assert tags.of_text(None) == ()
