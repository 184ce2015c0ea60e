"""Values as JSON where no annotation is at hand: as their own classes have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.codec.annotations import codec_of
from penstock.codec.form import Misfit
from penstock.codec.scalars import JSON_SCALARS
from penstock.errors import ArgumentError


def plain_call(task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call as JSON.

    Raises:
        ArgumentError: naming the field that is not what its class says.
    """
    try:
        # By number: a chain puts the result of the job before in front of them, so that a place names no parameter.
        by_place = [_part(f"argument {place}", each) for place, each in enumerate(args, 1)]
        return tuple(by_place), {name: _part(name, each) for name, each in kwargs.items()}
    except Misfit as misfit:
        raise ArgumentError(f"{task}: {misfit.path}: {misfit.problem}") from None


def plain(value: Any) -> Any:
    """A value as JSON; what has no such form stays as it is.

    Raises:
        Misfit: a part of it is not what its class says.
    """
    kind = type(value)
    if kind in JSON_SCALARS:
        return value
    if isinstance(value, Mapping):
        return {plain(key): _part(f"[{key!r}]", each) for key, each in value.items()}
    if kind in (list, tuple, set, frozenset):
        return [_part(f"[{place}]", each) for place, each in enumerate(value)]
    for each in kind.__mro__:  # A PosixPath is written as every path, a class of an application's dates as a date.
        if (codec := codec_of(each)).converts:
            return codec.encode(value)
    return value


def _part(step: str, value: Any) -> Any:
    try:
        return plain(value)
    except Misfit as misfit:
        raise misfit.inside(step) from None
