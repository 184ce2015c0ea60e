"""Values of one of several annotations. JSON does not say of which; so they have to differ as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from penstock.codec.form import CONVERTED, Codec, Misfit


class Maybe(Codec):
    """One annotation, or None."""

    rank = CONVERTED

    def __init__(self, codec: Codec) -> None:
        super().__init__(f"{codec.words} | None", converts=codec.converts)
        self._codec = codec

    def encode(self, value: Any) -> Any:
        return None if value is None else self._codec.encode(value)

    def decode(self, value: Any) -> Any:
        return None if value is None else self._codec.decode(value)


class OneOf(Codec):
    """The first member that fits; those that take least are asked first, a text at last."""

    rank = CONVERTED

    def __init__(self, members: Sequence[Codec]) -> None:
        super().__init__(" | ".join(each.words for each in members), converts=any(each.converts for each in members))
        self._members = sorted(members, key=lambda each: each.rank)

    def encode(self, value: Any) -> Any:
        member, text = self._first("encode", value)
        reader, read = self._first("decode", text)
        # A path and its text mean the same to whoever takes both.
        is_its_path = type(value) is str and isinstance(read, PurePath)
        if reader is not member and not is_its_path:
            raise Misfit(
                f"as JSON this {type(value).__name__} is the same as a {reader.words}, which would come out of it; "
                "give the union members that differ, or a dataclass of its own"
            )
        return text

    def decode(self, value: Any) -> Any:
        return self._first("decode", value)[1]

    def _first(self, way: str, value: Any) -> tuple[Codec, Any]:
        nearest: Misfit | None = None
        for member in self._members:
            try:
                return member, getattr(member, way)(value)
            except Misfit as misfit:
                if nearest is None or len(misfit.path) > len(nearest.path):
                    nearest = misfit
        # Whoever came to an inner part knows best what is wrong.
        raise nearest if nearest and nearest.path else self.misfit(value)
