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
    "countdown": "delay",
    "eta": "at",
    "max_retries": "retry",
    "autoretry_for": "retry",
    "retry_backoff": "retry",
    "time_limit": "timeout",
    "soft_time_limit": "timeout",
    "routing_key": "queue",
}
"""Ours by Celery's names."""


def names_options(function: F) -> F:
    """Makes a function whose options are keyword-only say which one was meant by a name that it does not know."""
    options = [each.name for each in inspect.signature(function).parameters.values() if each.kind is each.KEYWORD_ONLY]

    @functools.wraps(function)
    def checked(*args: Any, **given: Any) -> Any:
        try:
            return function(*args, **given)
        except TypeError:
            for name in given:
                if name not in options:
                    raise UnknownOption(f"{function.__name__}({name}=...): {_hint(name, options)}") from None
            raise

    return cast(F, checked)


def _hint(name: str, options: list[str]) -> str:
    meant = CELERYS.get(name)
    close = [meant] if meant in options else difflib.get_close_matches(name, options, n=1)
    return f"there is no such option; did you mean {close[0]}?" if close else f"the options are {', '.join(options)}"
