"""Kinds of children, as the app's settings name them: how many jobs a child runs at once, and by what.

``penstock_kind`` and ``penstock_size`` of the app's configuration; a profile sets both.
"""

from __future__ import annotations

import os
from typing import Any

from penstock.errors import DeclarationError
from penstock.profile import SINGLE, SIZES, problems_of_kind


def kind_of(conf: Any) -> str:
    """The kind of this worker's children.

    Raises:
        DeclarationError: there is no such kind, its size cannot be, or what it needs is not installed.
    """
    kind = conf.get("penstock_kind") or SINGLE
    if problems := list(problems_of_kind(kind, conf.get("penstock_size"))):
        raise DeclarationError(f"penstock_kind, penstock_size: {'; '.join(problems)}")
    if kind != SINGLE and os.environ.get("USE_FAST_LOCALS"):
        raise DeclarationError(
            f"USE_FAST_LOCALS is for processes that run one job at a time; unset it for kind {kind!r}"
        )
    if kind == "asyncio":
        _require_greenlet()
    return str(kind)


def _require_greenlet() -> None:
    try:
        import greenlet  # noqa: F401
    except ImportError:
        raise DeclarationError(
            "children of kind 'asyncio' need greenlet; install penstock[asyncio], or choose kind 'single'"
        ) from None


def places_of(conf: Any) -> int:
    """How many jobs each child runs at once; 0: it is of the kind that runs one."""
    kind = kind_of(conf)
    return 0 if kind == SINGLE else int(conf.get("penstock_size") or SIZES[kind])
