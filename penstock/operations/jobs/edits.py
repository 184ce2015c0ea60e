"""Other arguments for many jobs at once: named ones set, taken away or renamed, each in its own call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.errors import PenstockError

Call = tuple[list[Any], dict[str, Any]]


class NotEditable(PenstockError):
    """The arguments of a call cannot be changed like this; the message says why."""


@dataclass(frozen=True)
class Edits:
    """What is changed in a call; in this order: all of it, renamed, taken away, set."""

    args: list[Any] | None = None
    """In place of all positional arguments."""
    kwargs: dict[str, Any] | None = None
    """In place of all named ones."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Old names to new ones; calls without the old one stay as they are."""
    unset: tuple[str, ...] = ()
    """Names; what was given by position behind one of them is given by its name then."""
    set: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.is_whole or self.rename or self.unset or self.set)

    @property
    def is_whole(self) -> bool:
        """Whether one call is to be another, which can be meant of a single job only."""
        return self.args is not None or self.kwargs is not None

    @property
    def words(self) -> dict[str, Any]:
        """For the audit: names, and no values, which may be secret."""
        told: dict[str, Any] = {
            "args": self.args is not None,
            "kwargs": self.kwargs is not None,
            "rename": dict(self.rename),
            "unset": list(self.unset),
            "set": sorted(self.set),
        }
        return {name: value for name, value in told.items() if value}

    def applied(self, args: Sequence[Any], kwargs: Mapping[str, Any], parameters: Sequence[str]) -> Call:
        """The call as it is to be.

        Args:
            parameters: names of the task's parameters in their order: one that was given by position is set there, or
                left out there.

        Raises:
            NotEditable: an argument is to be left out, and what stands behind it has no name.
        """
        positional = list(args if self.args is None else self.args)
        named = dict(kwargs if self.kwargs is None else self.kwargs)
        for old, new in self.rename.items():
            if old in named:
                named[new] = named.pop(old)
        for name in self.unset:
            named.pop(name, None)
            positional, shifted = _without(name, positional, parameters)
            named |= shifted
        places = {name: place for place, name in enumerate(parameters[: len(positional)])}
        for name, value in self.set.items():
            if name in places:
                positional[places[name]] = value
            else:
                named[name] = value
        return positional, named


def _without(name: str, positional: list[Any], parameters: Sequence[str]) -> Call:
    """What stays by position, and what was behind it, by name."""
    place = parameters.index(name) if name in parameters else len(positional)
    if place >= len(positional):
        return positional, {}
    if len(positional) > len(parameters):
        raise NotEditable(f"{name} was given by position, and what stands behind it has no name")
    return positional[:place], dict(zip(parameters[place + 1 :], positional[place + 1 :], strict=False))


NO_EDITS = Edits()
