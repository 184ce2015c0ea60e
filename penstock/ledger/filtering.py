"""Which jobs somebody looks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from penstock.errors import PenstockError
from penstock.job import State

_FINGERPRINT = re.compile("[0-9a-f]{12}")


class NotSearchable(PenstockError):
    """Jobs may not be searched by this argument; have its name in ``PENSTOCK_SEARCHABLE``, or search by another."""


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Which jobs; every condition that is given must hold.

    Raises:
        NotSearchable: by an argument that is not among ``searchable``.
    """

    states: tuple[State, ...] = ()
    task: str | None = None
    queue: str | None = None
    schedule: str | None = None
    since: datetime | None = None
    """Not changed before this time."""
    until: datetime | None = None
    """Changed before this time."""
    error: str | None = None
    """A fingerprint, or text that the error's type or message contains."""
    id_prefix: str | None = None
    """How the id begins."""
    tag: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Arguments that were given by name, and their values as JSON writes them, texts without quotes."""
    searchable: tuple[str, ...] = ()
    """Names of arguments that may be searched by: ``Settings.searchable``."""

    def __post_init__(self) -> None:
        for name in self.arguments:
            if name not in self.searchable:
                known = f"; allowed are {', '.join(self.searchable)}" if self.searchable else ""
                raise NotSearchable(
                    f"jobs may not be searched by {name!r}: have it among the names in PENSTOCK_SEARCHABLE{known}"
                )

    @property
    def fingerprint(self) -> str | None:
        """``error``, if it has the form of a fingerprint."""
        return self.error if self.error and _FINGERPRINT.fullmatch(self.error) else None

    @property
    def text(self) -> str | None:
        """``error``, if it has not."""
        return None if self.fingerprint else self.error
