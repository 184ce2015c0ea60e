"""Misspelt options: Python refuses them, and this says what was meant. Type checkers see the function as it is."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from penstock.errors import UnknownOption

F = TypeVar("F", bound=Callable[..., Any])
CELERYS = {
    "countdown": ("delay", "base"),
    "eta": ("at",),
    "max_retries": ("retry", "attempts"),
    "autoretry_for": ("retry", "on"),
    "dont_autoretry_for": ("never",),
    "retry_backoff": ("retry", "backoff"),
    "retry_backoff_max": ("cap",),
    "retry_jitter": ("jitter",),
    "time_limit": ("timeout",),
    "soft_time_limit": ("timeout",),
    "routing_key": ("queue",),
}
"""Ours by Celery's names; the first that there is."""


def names_options(function: F) -> F:
    """Makes a function, or a class, whose options are keyword-only say which one was meant by a name that it does not
    know.
    """
    if isinstance(function, type):
        function.__init__ = _checked(function.__init__, function.__name__)  # type: ignore[misc]
        return function
    return cast(F, _checked(function, function.__name__))


def _checked(function: Callable[..., Any], shown: str) -> Callable[..., Any]:
    options = [each.name for each in inspect.signature(function).parameters.values() if each.kind is each.KEYWORD_ONLY]

    @functools.wraps(function)
    def checked(*args: Any, **given: Any) -> Any:
        try:
            return function(*args, **given)
        except TypeError:
            for name in given:
                if name not in options:
                    raise UnknownOption(f"{shown}({name}=...): {_hint(name, options)}") from None
            raise

    return checked


def _hint(name: str, options: list[str]) -> str:
    meant = [option for option in CELERYS.get(name, ()) if option in options]
    close = meant or difflib.get_close_matches(name, options, n=1)
    return f"there is no such option; did you mean {close[0]}?" if close else f"the options are {', '.join(options)}"
