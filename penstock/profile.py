"""A profile: one kind of worker, as data. ``workers/profiles.py`` lists those of a deployment."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.errors import DeclarationError


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One kind of worker.

    Args:
        name: also the worker's name before the ``@``.
        queues: the queues that it serves, all equally.
        children: how many jobs it runs at a time.
    """

    name: str
    queues: tuple[str, ...]
    children: int

    def __post_init__(self) -> None:
        if not self.queues or self.children < 1:
            raise DeclarationError(f"profile {self.name!r}: at least one queue and one child")
