"""The arguments and the result of a task, by the annotations of its body."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from penstock.codec.annotations import codec_of
from penstock.codec.form import Codec, Misfit
from penstock.errors import ArgumentError, UnreadableResult, UnserialisableResult

RESULT = "result"
Way = Callable[[Codec, Any], Any]
Call = tuple[tuple[Any, ...], dict[str, Any]]


def conversion_of(task: str, function: Callable[..., Any], signature: inspect.Signature) -> Conversion | None:
    """How a body's values are converted; None when all of them are JSON by themselves."""
    codecs = {
        name: _Unresolved(hint) if isinstance(hint, str) else codec_of(hint) for name, hint in _hints(function).items()
    }
    made = Conversion(task, signature, {name: each for name, each in codecs.items() if each.converts})
    return made if made.converts else None


class Conversion:
    """Turns the values of one task into JSON and back."""

    def __init__(self, task: str, signature: inspect.Signature, codecs: Mapping[str, Codec]) -> None:
        """Args:
        codecs: of the parameters that are converted, and under ``return`` of the result.
        """
        self._task = task
        self._result = codecs.get("return")
        self._places: list[tuple[str, Codec | None]] = []
        self._names: dict[str, Codec | None] = {}
        self._rest: tuple[str, Codec | None] = ("", None)
        """Of what comes by position after the parameters that have a name."""
        self._others: Codec | None = None
        """Of what comes by a name that no parameter has."""
        for each in signature.parameters.values():
            codec = codecs.get(each.name)
            if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD):
                self._places.append((each.name, codec))
            if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
                self._names[each.name] = codec
            elif each.kind is each.VAR_POSITIONAL:
                self._rest = each.name, codec
            elif each.kind is each.VAR_KEYWORD:
                self._others = codec
        self.converts = bool(codecs.keys() & {*signature.parameters, "return"})

    def encode(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
        """Arguments as JSON. They fit the body's parameters.

        Raises:
            ArgumentError: naming the field that is not what its annotation says.
        """
        return self._converted(lambda codec, value: codec.encode(value), args, kwargs)

    def decode(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
        """Arguments from JSON, as the body takes them.

        Raises:
            ArgumentError: naming the field that cannot be read.
        """
        return self._converted(lambda codec, value: codec.decode(value), args, kwargs)

    def encode_either(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
        """Arguments as JSON, of which each may be that already: Celery sends a job again with what its message said.

        Raises:
            ArgumentError: naming the field that is neither.
        """
        return self._converted(_encoded_either, args, kwargs)

    def encode_result(self, value: Any) -> Any:
        """A result as JSON.

        Raises:
            UnserialisableResult: naming the field that is not what its annotation says.
        """
        if self._result is None:
            return value
        try:
            return self._result.encode(value)
        except Misfit as misfit:
            told = f"{self._task} returned {RESULT}{misfit.path}: {misfit.problem}"
            raise UnserialisableResult(f"{told}; return what the annotation says, or correct it") from None
        except RecursionError:
            raise UnserialisableResult(f"{self._task} returned what contains itself, or is nested too deeply") from None

    def decode_result(self, value: Any) -> Any:
        """A result from JSON.

        Raises:
            UnreadableResult: naming the field that cannot be read.
        """
        if self._result is None:
            return value
        try:
            return self._result.decode(value)
        except Misfit as misfit:
            raise UnreadableResult(
                f"{self._task}: {RESULT}{misfit.path}: {misfit.problem}; as plain JSON it is in job.row.result"
            ) from None

    def _converted(self, way: Way, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
        places = len(self._places)
        done = [self._one(way, name, codec, each) for (name, codec), each in zip(self._places, args, strict=False)]
        name, codec = self._rest
        done += [self._one(way, f"{name}[{place}]", codec, each) for place, each in enumerate(args[places:])]
        named = {name: self._one(way, name, self._names.get(name, self._others), each) for name, each in kwargs.items()}
        return tuple(done), named

    def _one(self, way: Way, name: str, codec: Codec | None, value: Any) -> Any:
        if codec is None:
            return value
        try:
            return way(codec, value)
        except Misfit as misfit:
            raise ArgumentError(f"{self._task}: {name}{misfit.path}: {misfit.problem}") from None
        except RecursionError:
            raise ArgumentError(f"{self._task}: {name} contains itself, or is nested too deeply; flatten it") from None


def _encoded_either(codec: Codec, value: Any) -> Any:
    try:
        return codec.encode(value)
    except Misfit as misfit:
        try:
            codec.decode(value)
        except Misfit as other:
            raise max(other, misfit, key=lambda each: len(each.path)) from None
        return value


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations by name; one that names what is not there at run time remains a text."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:
        return {name: _hint(function, each) for name, each in function.__annotations__.items()}


def _hint(function: Callable[..., Any], annotation: Any) -> Any:
    holder = types.SimpleNamespace(__annotations__={RESULT: annotation})
    try:
        return typing.get_type_hints(holder, function.__globals__, include_extras=True)[RESULT]
    except Exception:
        return str(annotation)


class _Unresolved(Codec):
    """An annotation of a name that only type checkers know: JSON passes, and for all else it says what to do."""

    def __init__(self, annotation: str) -> None:
        super().__init__(annotation, converts=True)

    def encode(self, value: Any) -> Any:
        if type(value) not in (str, int, float, bool, type(None), list, tuple, dict):
            raise Misfit(f"its annotation {self.words!r} has no meaning at run time; import it not for checkers alone")
        return value
