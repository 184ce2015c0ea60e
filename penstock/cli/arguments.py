"""A job's arguments as options: JSON."""

from __future__ import annotations

import json
from typing import Any

from penstock.errors import ArgumentError

FORMS: dict[str, tuple[type, str]] = {
    "args": (list, """an array, such as '[1, "two"]'"""),
    "kwargs": (dict, 'an object, such as \'{"url": "…"}\''),
}


def arguments_of(args: str | None, kwargs: str | None) -> dict[str, Any]:
    """Those that are given, by name.

    Raises:
        ArgumentError: they are no JSON, or not of the right kind.
    """
    named: dict[str, Any] = {}
    for name, text in (("args", args), ("kwargs", kwargs)):
        if text is not None:
            named[name] = _read(name, text)
    return named


def _read(name: str, text: str) -> Any:
    kind, what = FORMS[name]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"--{name} {text!r} is no JSON ({error}); give {what}") from None
    if not isinstance(value, kind):
        raise ArgumentError(f"--{name} {text!r}: give {what}")
    return value
