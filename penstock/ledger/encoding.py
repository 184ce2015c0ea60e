"""Values as JSON, once: whoever runs a job encodes them, and whoever writes the row passes the text on."""

from __future__ import annotations

from typing import Any

from penstock.ledger.session import encode_json


class Encoded(str):
    """JSON text that has been checked and goes into its column as it is."""

    __slots__ = ()


def encoded(value: Any) -> Encoded | None:
    """``value`` as JSON; nothing stays nothing.

    Raises:
        UnserialisableResult: it is not JSON.
    """
    if value is None or isinstance(value, Encoded):
        return value
    return Encoded(encode_json(value))
