"""What every codec is, and the error of a value that does not fit."""

from __future__ import annotations

import reprlib
from typing import Any

NUMBER, CONVERTED, PATH, TEXT, ANYTHING = range(5)
"""Which member of a union reads first what came by wire: whoever takes least."""

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 40


class Misfit(ValueError):
    """A value has not the form that its annotation asks for.

    Attributes:
        problem: what is wrong with it.
        path: where in the argument it is: ``.items[2].price``.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = ""

    def inside(self, step: str) -> Misfit:
        """The same, seen from the value that has it as a part."""
        self.path = step + self.path
        return self


class Codec:
    """How the values of one annotation become JSON and come back; this one takes any JSON as it is."""

    rank: int = ANYTHING

    def __init__(self, words: str = "any JSON", *, converts: bool = False) -> None:
        """Args:
        words: what it takes, for errors.
        converts: whether values are other on the wire than in Python, so that they have to pass through here.
        """
        self.words = words
        self.converts = converts

    def encode(self, value: Any) -> Any:
        """A value as JSON.

        Raises:
            Misfit: it is none of the annotation's.
        """
        return value

    def decode(self, value: Any) -> Any:
        """The value of which ``value`` is the JSON.

        Raises:
            Misfit: it is not.
        """
        return value

    def misfit(self, value: Any) -> Misfit:
        """For a value of a type that is not taken."""
        return Misfit(f"{article(type(value).__name__)}, where {article(self.words)} is needed")

    def unreadable(self, value: Any, why: str = "") -> Misfit:
        """For JSON of the right type that says nothing."""
        return Misfit(f"{_short.repr(value)} is no {self.words}{why}")


def article(words: str) -> str:
    """Words with the indefinite article that English wants before them."""
    if words in ("None", "NoneType") or words.startswith("any "):
        return "None" if words.startswith("None") else words
    return f"{'an' if words[0] in 'aeiouAEIO' else 'a'} {words}"
