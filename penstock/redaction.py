"""Secrets of arguments, errors and messages do not get as far as somebody's eyes: what is named like one is `***`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

HIDDEN = "***"
WORDS = (
    "password", "passwd", "secret", "token", "api_key", "apikey", "authorization", "credential", "private_key",
    "cookie", "session_key",
)  # fmt: skip
DEEPEST = 20
"""Levels below which nothing is shown: nobody reads them, and each costs a call."""
_URL = re.compile(r"(\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/@]*):[^\s/@]+@")


class Redaction:
    """Hides what is named like a secret.

    Args:
        words: a name that contains one of them, in any case, is a secret's.
    """

    def __init__(self, words: Iterable[str] = WORDS) -> None:
        self._words = tuple(word.lower() for word in words)
        names = "|".join(re.escape(word) for word in self._words)
        named = rf"([\w-]*(?:{names})[\w-]*[\"']?\s*[=:]\s*)"
        values = r"(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|(?:Bearer |Basic )?[^\s,;)}\]&]+)"
        self._named = re.compile(named + values, re.IGNORECASE) if names else None

    def is_secret(self, name: str) -> bool:
        """Whether what has this name is hidden."""
        return any(word in name.lower() for word in self._words)

    def value(self, name: str | None, value: Any, depth: int = 0) -> Any:
        """A copy of a value without secrets, at any depth of lists and of objects, whose keys are names."""
        if (name is not None and self.is_secret(name)) or depth > DEEPEST:
            return HIDDEN
        if isinstance(value, Mapping):
            return {key: self.value(str(key), each, depth + 1) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(None, each, depth + 1) for each in value]
        return self.text(value) if isinstance(value, str) else value

    def call(self, args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str] = ()) -> tuple[Any, Any]:
        """The arguments of a call without secrets.

        Args:
            names: of the parameters, if the task is known: what is given by position has a name then.
        """
        named = [self.value(names[place] if place < len(names) else None, each) for place, each in enumerate(args)]
        return named, self.value(None, kwargs)

    def text(self, text: str) -> str:
        """A text without what it names like a secret (``token=…``, ``"password": "…"``) and passwords of URLs."""
        if self._named is not None:
            text = self._named.sub(rf"\1{HIDDEN}", text)
        return _URL.sub(rf"\1:{HIDDEN}@", text)
