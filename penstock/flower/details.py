"""The details of a deed as the audit's list tells them: in one line, and in full when somebody asks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from penstock.wording import one_line

BRIEF_CHARACTERS = 120


def in_brief(details: Any) -> tuple[str, bool]:
    """Details in one line, ``key: value, key: value``, and whether that is all of them.

    Args:
        details: JSON without secrets.
    """
    line = one_line(_line_of(details))
    is_whole = len(line) <= BRIEF_CHARACTERS
    return (line if is_whole else f"{line[:BRIEF_CHARACTERS].rstrip()}…"), is_whole


def _line_of(details: Any) -> str:
    if details is None:
        return ""
    if not isinstance(details, Mapping):
        return _text_of(details)
    return ", ".join(f"{name}: {_text_of(value)}" for name, value in details.items() if value not in (None, "", [], {}))


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
