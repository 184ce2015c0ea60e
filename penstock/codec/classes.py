"""Values of the application's own classes: dataclasses, TypedDicts, and pydantic's models as far as it is loaded."""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from penstock.codec.form import CONVERTED, Codec, Misfit


class Record(Codec):
    """A dataclass as an object of its fields."""

    rank = CONVERTED

    def __init__(self, kind: type, codecs: Callable[[], dict[str, Codec]]) -> None:
        """Args:
        codecs: of its fields, asked for at the first value, as a class may have fields of itself.
        """
        super().__init__(kind.__name__, converts=True)
        self._kind, self._ask = kind, codecs

    @cached_property
    def _codecs(self) -> dict[str, Codec]:
        """Of the fields that its constructor takes."""
        known = self._ask()
        return {each.name: known[each.name] for each in dataclasses.fields(self._kind) if each.init}

    @cached_property
    def _required(self) -> set[str]:
        missing = dataclasses.MISSING
        return {
            each.name
            for each in dataclasses.fields(self._kind)
            if each.init and each.default is missing and each.default_factory is missing
        }

    def encode(self, value: Any) -> dict[str, Any]:
        if type(value) is not self._kind:
            raise self.misfit(value)  # A subclass as well: nothing on the wire would tell.
        done = {}
        for name, codec in self._codecs.items():
            try:
                done[name] = codec.encode(getattr(value, name))
            except Misfit as misfit:
                raise misfit.inside(f".{name}") from None
        return done

    def decode(self, value: Any) -> Any:
        done = _fields(self, value, {name: codec.decode for name, codec in self._codecs.items()}, self._required)
        try:
            return self._kind(**done)
        except Exception as error:  # Of its __post_init__.
            raise Misfit(f"{self.words} refuses it ({type(error).__name__}: {error})") from None


class Shape(Codec):
    """A ``TypedDict``: a ``dict`` of the fields that it names."""

    rank = CONVERTED

    def __init__(self, kind: type, codecs: Callable[[], dict[str, Codec]], required: Callable[[], set[str]]) -> None:
        """Args:
        codecs: of its fields, asked for at the first value, as a class may have fields of itself.
        required: names of the fields that each value has; asked for then as well.
        """
        super().__init__(kind.__name__, converts=True)
        self._ask, self._ask_required = codecs, required

    @cached_property
    def _codecs(self) -> dict[str, Codec]:
        return self._ask()

    @cached_property
    def _required(self) -> set[str]:
        return self._ask_required()

    def encode(self, value: Any) -> dict[str, Any]:
        return _fields(self, value, {name: codec.encode for name, codec in self._codecs.items()}, self._required)

    def decode(self, value: Any) -> dict[str, Any]:
        return _fields(self, value, {name: codec.decode for name, codec in self._codecs.items()}, self._required)


def _fields(whole: Codec, value: Any, ways: Mapping[str, Callable[[Any], Any]], required: set[str]) -> dict[str, Any]:
    """Those of an object, each by its way: none that is unknown, and all that are required."""
    if not isinstance(value, dict):
        raise whole.misfit(value)
    done = {}
    for name, each in value.items():
        if name not in ways:
            close = difflib.get_close_matches(str(name), ways, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise Misfit(f"{whole.words} has no field {name!r}{hint}")
        try:
            done[name] = ways[name](each)
        except Misfit as misfit:
            raise misfit.inside(f".{name}") from None
    if missing := required - done.keys():
        raise Misfit("missing").inside(f".{min(missing)}")
    return done


def is_model(annotation: type) -> bool:
    """Whether pydantic has made it: a model, or a dataclass of its own. Whoever has one has imported pydantic."""
    return "pydantic" in sys.modules and hasattr(annotation, "__pydantic_validator__")


class Model(Codec):
    """A class of pydantic's, by its own rules."""

    rank = CONVERTED

    def __init__(self, kind: Any) -> None:
        super().__init__(kind.__name__, converts=True)
        self._kind = kind

    @cached_property
    def _adapter(self) -> Any:
        return sys.modules["pydantic"].TypeAdapter(self._kind)

    def encode(self, value: Any) -> Any:
        if type(value) is not self._kind:
            raise self.misfit(value)
        try:
            text = self._adapter.dump_json(value, by_alias=True, warnings=False)
        except ValueError as error:
            raise Misfit(str(error)) from None
        self._compare(value, self._read(text))
        return json.loads(text)

    def decode(self, value: Any) -> Any:
        return self._read(json.dumps(value))

    def _read(self, text: str) -> Any:
        try:
            return self._adapter.validate_json(text)
        except ValueError as error:
            raise _misfit(error) from None

    def _compare(self, value: Any, read: Any) -> None:
        """A model may have been changed since it was made, hide a secret, or leave a field out when it is written."""
        for name in self._kind.__pydantic_fields__:
            if getattr(value, name) != getattr(read, name):
                raise Misfit(
                    "the model writes as JSON what it does not read as the same value, as of a secret or an excluded "
                    "field; pass it in a field that it writes as it is"
                ).inside(f".{name}")


def _misfit(error: Any) -> Misfit:
    first, *others = error.errors(include_url=False, include_context=False, include_input=False)
    more = f" (and {len(others)} more)" if others else ""
    misfit = Misfit(f"{first['msg']}{more}")
    return misfit.inside("".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"]))
