"""The codec of an annotation."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from pathlib import PurePath
from typing import Any, TypeVar, Union, get_args, get_origin

from penstock.codec.classes import Model, Record, Shape, is_model
from penstock.codec.containers import Places, Series, Table
from penstock.codec.form import Codec
from penstock.codec.scalars import JSON_SCALARS, TEXTS, Choice, Member, Same, Seconds, path_of
from penstock.codec.unions import Maybe, OneOf
from penstock.errors import DeclarationError

Scope = Mapping[Any, Any]
"""What stands for the type variables of a generic class."""
ANY = Codec()
ORDERED = (list, tuple)
UNORDERED = (set, frozenset)
SERIES: dict[Any, tuple[type, tuple[type, ...]]] = {
    list: (list, ORDERED),
    tuple: (tuple, ORDERED),
    set: (set, UNORDERED),
    frozenset: (frozenset, UNORDERED),
    abc.Set: (frozenset, UNORDERED),
    abc.MutableSet: (set, UNORDERED),
    abc.Sequence: (list, ORDERED),
    abc.MutableSequence: (list, ORDERED),
    abc.Collection: (list, ORDERED),
    abc.Iterable: (list, ORDERED),
}
"""By annotation: what comes back, and what is taken."""
QUALIFIERS = ("Required", "NotRequired", "ReadOnly")
TABLES = (dict, abc.Mapping, abc.MutableMapping)


def codec_of(annotation: Any, scope: Scope = types.MappingProxyType({})) -> Codec:
    """The codec of an annotation; of one that means nothing here, that of any JSON."""
    annotation = _unwrapped(annotation, scope)
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _union([codec_of(each, scope) for each in parts], parts)
    if origin is typing.Literal:
        return _literal(parts)
    kind = origin or annotation
    if not isinstance(kind, type):
        return ANY
    if kind in SERIES:
        return _series(kind, parts, scope)
    if kind in TABLES:
        return _table(parts, scope)
    if is_model(kind):
        return Model(annotation)
    if dataclasses.is_dataclass(kind):
        return _record(kind) if origin is None else Record(kind, _fields(kind, _meanings(kind, parts, scope)))
    if issubclass(kind, dict) and hasattr(kind, "__required_keys__"):
        return _shape(kind) if origin is None else _shape_within(kind, _meanings(kind, parts, scope))
    return _of_class(kind) if origin is None else ANY


def _unwrapped(annotation: Any, scope: Scope) -> Any:
    """Without the wrappings that mean nothing to a value."""
    while True:
        if annotation is None:
            return type(None)
        if isinstance(annotation, TypeVar):
            return scope.get(annotation, Any)
        if isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif get_origin(annotation) in (typing.Annotated, typing.Final) or _qualifier(annotation) in QUALIFIERS:
            annotation = get_args(annotation)[0]
        elif type(annotation).__name__ == "TypeAliasType":  # `type Price = Decimal`, from Python 3.12 on.
            annotation = annotation.__value__
        else:
            return annotation


def _qualifier(annotation: Any) -> str:
    """How a field of a TypedDict is wrapped, also by the classes that typing_extensions brings for older Pythons."""
    return str(getattr(get_origin(annotation), "_name", ""))


def _union(members: list[Codec], parts: tuple[Any, ...]) -> Codec:
    present = [codec for codec, part in zip(members, parts, strict=True) if part is not type(None)]
    one = present[0] if len(present) == 1 else OneOf(present)
    return one if len(present) == len(members) else Maybe(one)


def _literal(choices: tuple[Any, ...]) -> Codec:
    kinds = {type(each) for each in choices if isinstance(each, enum.Enum)}
    plain = tuple(each for each in choices if not isinstance(each, enum.Enum))
    codecs: list[Codec] = [Member(kind) for kind in kinds] + ([Choice(plain)] if plain else [])
    return codecs[0] if len(codecs) == 1 else OneOf(codecs)


def _series(kind: Any, parts: tuple[Any, ...], scope: Scope) -> Codec:
    if kind is tuple and parts and parts[-1] is not Ellipsis:
        return Places(tuple, [codec_of(each, scope) for each in parts])
    made, taken = SERIES[kind]
    item = codec_of(parts[0], scope) if parts else ANY
    return ANY if made is list and not parts else Series(made, item, taken)


def _table(parts: tuple[Any, ...], scope: Scope) -> Codec:
    if not parts:
        return ANY
    key, item = (codec_of(each, scope) for each in parts)
    return Table(key, item, has_text_keys=type(key) is Codec or _unwrapped(parts[0], scope) is str)


def _of_class(kind: type) -> Codec:
    if kind in JSON_SCALARS:
        return Same(kind)
    if kind in TEXTS:
        return TEXTS[kind]
    if issubclass(kind, enum.Enum):
        return Member(kind)
    if issubclass(kind, PurePath):
        return path_of(kind)
    if kind is timedelta:
        return Seconds()
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        hints = _hints(kind)
        return Places(kind, [codec_of(hints.get(name, Any)) for name in kind._fields], kind._fields)
    return ANY


@cache
def _record(kind: type) -> Record:
    return Record(kind, _fields(kind, {}))


@cache
def _shape(kind: Any) -> Shape:
    return _shape_within(kind, {})


def _shape_within(kind: Any, scope: Scope) -> Shape:
    def required() -> set[str]:
        # Where annotations are texts the class itself did not see which of them are wrapped.
        wrapped = {name: _qualifier(each) for name, each in _hints(kind).items()}
        return {name for name in wrapped if wrapped[name] == "Required"} | {
            name for name in kind.__required_keys__ if wrapped[name] != "NotRequired"
        }

    return Shape(kind, _fields(kind, scope), required)


def _meanings(kind: Any, parts: tuple[Any, ...], scope: Scope) -> Scope:
    """What stands for the type variables of a generic class in this use of it."""
    return dict(zip(kind.__parameters__, (_unwrapped(each, scope) for each in parts), strict=False))


def _fields(kind: type, scope: Scope) -> Callable[[], dict[str, Codec]]:
    return lambda: {name: codec_of(each, scope) for name, each in _hints(kind).items()}


def _hints(kind: type) -> dict[str, Any]:
    """Annotations of a class.

    Raises:
        DeclarationError: it has one that names what its module does not have when it runs.
    """
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except NameError as error:
        raise DeclarationError(f"{kind.__name__}: {error}; import it for real, not only for type checkers") from None
