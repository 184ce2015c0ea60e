"""Values that hold others, by place or by key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from penstock.codec.form import CONVERTED, Codec, Misfit


class Series(Codec):
    """Any number of values of one kind: list, tuple, set, frozenset."""

    rank = CONVERTED

    def __init__(self, kind: type, item: Codec, taken: tuple[type, ...]) -> None:
        """Args:
        kind: what comes back.
        taken: types whose values are taken.
        """
        super().__init__(kind.__name__, converts=kind is not list or item.converts)
        self._kind, self._item, self._taken = kind, item, taken

    def encode(self, value: Any) -> list[Any]:
        if not isinstance(value, self._taken):
            raise self.misfit(value)
        return _each(self._item.encode, value)

    def decode(self, value: Any) -> Any:
        if not isinstance(value, list):
            raise self.misfit(value)
        try:
            return self._kind(_each(self._item.decode, value))
        except TypeError as error:  # A set of what has no hash.
            raise Misfit(str(error)) from None


def _each(convert: Callable[[Any], Any], values: Any) -> list[Any]:
    done: list[Any] = []
    try:
        for value in values:
            done.append(convert(value))  # Their number says which one it is that does not fit.
    except Misfit as misfit:
        raise misfit.inside(f"[{len(done)}]") from None
    return done


class Places(Codec):
    """A value for each place: ``tuple[int, str]``, and classes made by ``NamedTuple``."""

    rank = CONVERTED

    def __init__(self, kind: type, items: Sequence[Codec], names: Sequence[str] = ()) -> None:
        super().__init__(kind.__name__ if names else f"tuple of {len(items)}", converts=True)
        self._kind, self._items = kind, items
        self._steps = [f".{name}" for name in names] or [f"[{place}]" for place in range(len(items))]

    def encode(self, value: Any) -> list[Any]:
        if not isinstance(value, self._kind) and not (self._kind is tuple and isinstance(value, list)):
            raise self.misfit(value)
        return self._converted(value, [each.encode for each in self._items])

    def decode(self, value: Any) -> Any:
        if not isinstance(value, list):
            raise self.misfit(value)
        values = self._converted(value, [each.decode for each in self._items])
        return tuple(values) if self._kind is tuple else self._kind(*values)

    def _converted(self, values: Any, ways: list[Callable[[Any], Any]]) -> list[Any]:
        if len(values) != len(ways):
            raise Misfit(f"{len(values)} values, where {len(ways)} are needed")
        done: list[Any] = []
        try:
            for way, value in zip(ways, values, strict=True):
                done.append(way(value))
        except Misfit as misfit:
            raise misfit.inside(self._steps[len(done)]) from None
        return done


class Table(Codec):
    """A ``dict``. Keys that are not texts are written as one."""

    rank = CONVERTED

    def __init__(self, key: Codec, item: Codec, *, has_text_keys: bool) -> None:
        super().__init__("dict", converts=item.converts or not has_text_keys)
        self._key, self._item = key, item

    def encode(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise self.misfit(value)
        done = self._converted(value, self._key_text, self._item.encode)
        if len(done) != len(value):
            raise Misfit("two of its keys are the same as JSON")
        return done

    def decode(self, value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise self.misfit(value)
        return self._converted(value, self._key_of, self._item.decode)

    def _converted(
        self, value: Mapping[Any, Any], key: Callable[[Any], Any], item: Callable[[Any], Any]
    ) -> dict[Any, Any]:
        done: dict[Any, Any] = {}
        for name, each in value.items():
            try:
                done[key(name)] = item(each)
            except Misfit as misfit:
                raise misfit.inside(f"[{name!r}]") from None
        return done

    def _key_text(self, key: Any) -> str:
        text = self._key.encode(key)
        if isinstance(text, int) and not isinstance(text, bool):
            return str(text)
        if not isinstance(text, str):
            raise Misfit(f"a key that is a {type(key).__name__}, and JSON keys are strings; convert it")
        return text

    def _key_of(self, text: str) -> Any:
        try:
            return self._key.decode(text)
        except Misfit:
            if text.removeprefix("-").isdecimal():
                return self._key.decode(int(text))
            raise
