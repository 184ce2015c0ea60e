"""Tags: words that a job carries, to be found by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MAX_TAGS, MAX_LENGTH = 10, 64
"""Tags of one job, and characters of a tag."""


def given(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags as somebody has declared them, unchecked. A text stays one, or it would become tags of a letter each."""
    return tags if isinstance(tags, str) else tuple(tags)  # type: ignore[return-value]


def problem_of(tags: object) -> str | None:
    """What is wrong with tags that somebody has declared, and what is allowed; None: nothing."""
    if isinstance(tags, (tuple, list)) and len(tags) <= MAX_TAGS and all(map(_is_tag, tags)):
        return None
    return f"tags={tags!r}: at most {MAX_TAGS} words of 1 to {MAX_LENGTH} characters, without spaces"


def _is_tag(tag: object) -> bool:
    return isinstance(tag, str) and 0 < len(tag) <= MAX_LENGTH and tag.isprintable() and " " not in tag


def together(*lists: Iterable[str]) -> tuple[str, ...]:
    """Tags from several places, each once, as many as a job may have; the first ones stay."""
    return tuple(dict.fromkeys(tag for tags in lists for tag in tags))[:MAX_TAGS]


def of_header(told: Any) -> tuple[str, ...]:
    """The tags that a message says. Anyone may have written it: what is no tag becomes one, and costs no row."""
    if told is None:
        return ()
    tags = told if isinstance(told, (list, tuple)) else [told]
    # More of them than a job may have are not looked through to their end.
    return together(filter(None, map(_as_tag, tags[: 2 * MAX_TAGS])))


def _as_tag(told: Any) -> str:
    if _is_tag(told):
        return str(told)
    if not isinstance(told, (str, int, float)):
        return ""
    marks = (mark if mark.isprintable() and mark != " " else "_" for mark in str(told)[:MAX_LENGTH])
    return "".join(marks)


def to_text(tags: Iterable[str]) -> str | None:
    """As the ledger keeps them: with a space on each side of each, so that one tag is found as a part of the text."""
    words = " ".join(tags)
    return f" {words} " if words else None


def of_text(text: str | None) -> tuple[str, ...]:
    """The tags that :func:`to_text` has made the text of."""
    return tuple(text.split()) if text else ()
