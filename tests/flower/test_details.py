"""Details of deeds in one line."""

from __future__ import annotations

import pytest

from penstock.flower.details import BRIEF_CHARACTERS, in_brief


@pytest.mark.parametrize(
    ("details", "line"),
    [
        (None, ""),
        ({}, ""),
        ({"count": 3, "jobs": ["a", "b"]}, 'count: 3, jobs: ["a", "b"]'),
        ({"terminate": False, "workers": [], "why": "", "note": None}, "terminate: false"),
        ({"count": 0}, "count: 0"),
        ({"why": "two\nlines"}, "why: two lines"),
        ("a word", "a word"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_names_and_values_stand_in_one_line_without_what_is_empty(details: object, line: str) -> None:
    assert in_brief(details) == (line, True)


def test_a_long_line_is_cut_and_says_so() -> None:
    line, is_whole = in_brief({"jobs": ["x" * 40] * 1000})
    assert len(line) == BRIEF_CHARACTERS + 1
    assert line.endswith("…")
    assert not is_whole
