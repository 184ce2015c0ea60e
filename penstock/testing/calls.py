"""The function of an application after whose call a worker is to die."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Any


def owner_of(call: str) -> tuple[Any, str]:
    """The module in which a function is looked for, and the function's name there.

    Args:
        call: ``module:function``.

    Raises:
        ValueError: there is none.
    """
    module, _, name = call.partition(":")
    if not module or not name:
        raise ValueError(f"after_call={call!r}: give module:function")
    try:
        owner = import_module(module)
    except ImportError as error:
        raise ValueError(f"after_call={call!r}: {module} cannot be imported ({error})") from error
    if not hasattr(owner, name):
        close = get_close_matches(name, vars(owner), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"after_call={call!r}: {module} has no {name}{hint}")
    if not callable(getattr(owner, name)):
        raise ValueError(f"after_call={call!r}: {name} is not a function")
    return owner, name
