"""Secrets of arguments, errors and messages do not get as far as somebody's eyes: what is named like one is ``***``.

A value is known by its name, so whatever has a listed word in its name is hidden as a whole; in a text, what follows
such a name. Passwords in addresses are hidden whatever they are called. In doubt more is hidden, never less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any

HIDDEN = "***"
CUT = "…"
"""Stands for the rest of what is too much."""
WORDS = (
    "password", "passwd", "secret", "token", "api_key", "apikey", "authorization", "credential", "private_key",
    "cookie", "session_key",
)  # fmt: skip
ROUNDS = 4
"""Times that a text is gone through at most; nearly always the second one finds nothing."""
MAX_DEPTH, MAX_VALUES, MAX_TEXT = 20, 10_000, 200_000
"""Levels, values in all, and characters of one text that are shown; nobody reads more, and each costs time."""

# Nothing here may take time that grows with the square of a text, whatever is in it: what repeats is bounded, or ends
# where the next match could begin.
_ADDRESS = re.compile(r"""(://[^\s:/?#@"']*:)[^\s/?#"]+@""")
_SET_TO = r"""\\{0,8}["']?\]?\s{0,20}(?:[!=:]?=>?|:)=?\s{0,20}"""
"""From a name to its value: of code, of JSON (also within a text), of a header, of a query."""
_SET_AGAIN = re.compile(r"\s{0,20}==?\s{0,20}")
"""From an annotation to the value."""
_QUOTE = re.compile(r"""[bru]{0,2}(\\{0,8})(\"{3}|'{3}|\"|')""", re.IGNORECASE)
_WORD = re.compile(
    r"""(?:(?:bearer|basic|digest|negotiate)\s{1,5})?[^\s,;&]+(?:;\s{0,3}[^\s,;&=]{1,200}=[^\s,;&]*)*""", re.IGNORECASE
)
"""A value without quotes: a word, with its scheme, or the pairs of a cookie."""
_CLOSERS = "\\\"')]}>"
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_IN_BRACKETS = re.compile(r"""[()\[\]{}"']""")


class Redaction:
    """Hides what is named like a secret. It raises nothing, and changes nothing that it is given.

    Args:
        words: a name that contains one of them, in any case and with ``-``, ``.`` or nothing for ``_``, is a secret's.
    """

    def __init__(self, words: Iterable[str] = WORDS) -> None:
        names = "|".join(_loosely(word) for word in words if any(map(str.isalnum, word))) or "(?!)"
        self._name = re.compile(names, re.IGNORECASE)
        self._assignment = re.compile(rf"(?:{names})[\w.-]{{0,64}}{_SET_TO}", re.IGNORECASE)

    def is_secret(self, name: str) -> bool:
        """Whether what has this name is hidden."""
        return self._name.search(name) is not None

    def value(self, name: str | None, value: Any) -> Any:
        """A copy of a value without secrets, at any depth of lists and of objects, whose keys are names.

        Made of JSON values only: of what is none, the type is told.
        """
        try:
            return _Showing(self).value(name, value, 0)
        except Exception:  # Whatever an object of somebody else's does when it is looked at.
            return HIDDEN

    def call(self, args: Any, kwargs: Any, names: Sequence[str] = ()) -> tuple[Any, Any]:
        """The arguments of a call without secrets.

        Args:
            names: of the parameters, if the task is known: what is given by position has a name then.
        """
        if not isinstance(args, (list, tuple)):
            return self.value(None, args), self.value(None, kwargs)
        try:
            shown = _Showing(self).values(zip(chain(names, repeat(None)), args, strict=False), 1)
        except Exception:
            return HIDDEN, self.value(None, kwargs)
        return shown, self.value(None, kwargs)

    def text(self, text: str) -> str:
        """A text without what it names like a secret (``token=…``, ``"password": "…"``) and passwords of addresses."""
        for _ in range(ROUNDS):
            # What is hidden may have kept apart what now looks like an address.
            shown = self._without_assigned(_ADDRESS.sub(rf"\1{HIDDEN}@", text))
            if shown == text:
                break
            text = shown
        return text

    def _without_assigned(self, text: str) -> str:
        shown: list[str] = []
        done, left = 0, MAX_TEXT
        while match := self._assignment.search(text, done):
            # Cut before a name or after its value: what ends between them would look like another value.
            if match.start() - done > left:
                break
            stands_for, end = self._values(text, match.end())
            shown += text[done : match.end()], stands_for
            left -= match.end() - done + len(stands_for)
            done = end
            if left <= 0:
                break
        rest = text[done : done + max(left, 0) + 1]
        return "".join(shown) + (rest if len(rest) <= left else rest[: max(left, 0)] + CUT)

    def _values(self, text: str, start: int) -> tuple[str, int]:
        """What stands for the value that begins there and for those that follow it, and where they end."""
        shown, end = _hidden(text, start)
        while again := _SET_AGAIN.match(text, end):
            more, end = _hidden(text, again.end())
            shown += again[0] + more
        return shown, end


class _Showing:
    """Goes through one value; what is left of the bound is shared by all its parts."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._left = MAX_VALUES

    def value(self, name: str | None, value: Any, depth: int) -> Any:
        self._left -= 1
        if name is not None and self._redaction.is_secret(name):
            return HIDDEN
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, str):
            return self._redaction.text(value)
        if not isinstance(value, (Mapping, list, tuple)):
            return f"<{type(value).__name__}>"
        if depth >= MAX_DEPTH:
            return CUT
        if isinstance(value, Mapping):
            return self._members(value, depth + 1)
        return self.values(((None, each) for each in value), depth + 1)

    def values(self, named: Iterable[tuple[str | None, Any]], depth: int) -> list[Any]:
        shown: list[Any] = []
        for name, each in named:
            if self._left <= 0:
                shown.append(CUT)
                break
            shown.append(self.value(name, each, depth))
        return shown

    def _members(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, each in value.items():
            if self._left <= 0:
                shown[CUT] = CUT
                break
            name = str(key)
            shown[name] = self.value(name, each, depth)
        return shown


def _loosely(word: str) -> str:
    return r"[_.-]?".join(map(re.escape, re.split(r"[_.-]", word)))


def _hidden(text: str, start: int) -> tuple[str, int]:
    """What stands for the value that begins there, and where it ends; what is not closed ends with the text."""
    if quote := _QUOTE.match(text, start):
        end = _end_of_quoted(text, quote.end(), *quote.groups())
        closing = "".join(quote.groups()) if end is not None else ""
        return f"{quote[0]}{HIDDEN}{closing}", len(text) if end is None else end + len(closing)
    if text[start : start + 1] in _BRACKETS:
        return HIDDEN, _end_of_brackets(text, start)
    word = _WORD.match(text, start)
    value = word[0].rstrip(_CLOSERS) if word else ""
    return (HIDDEN if value else ""), start + len(value)


def _end_of_quoted(text: str, start: int, escape: str, quote: str) -> int | None:
    """Where the quotes are that close; they are escaped as often as those that opened."""
    end = text.find(escape + quote, start)
    while end >= 0:
        before = end
        while before > start and text[before - 1] == "\\":
            before -= 1
        if end == before if escape else (end - before) % 2 == 0:
            return end
        end = text.find(escape + quote, end + 1)
    return None


def _end_of_brackets(text: str, start: int) -> int:
    closers: list[str] = []
    at = start
    while found := _IN_BRACKETS.search(text, at):
        mark, at = found[0], found.end()
        if mark in _BRACKETS:
            closers.append(_BRACKETS[mark])
        elif mark == closers[-1]:
            closers.pop()
            if not closers:
                return at
        elif mark in "\"'":
            end = _end_of_quoted(text, at, "", mark)
            if end is None:
                break
            at = end + 1
    return len(text)
