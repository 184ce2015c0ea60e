"""What takes CI too long for one run is asked for in turns: each commit has the modules whose turn it is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tests.share import Share

TESTS = Path(__file__).parent
TURNS = {
    "flower/live": 9,
    "scheduler": 8,
    "engine": 9,
    "cli": 6,
    "why": 2,
    "testing": 4,
    "client": 3,
    "ledger": 3,
    "broker": 3,
    "outbox": 3,
    "adoption": 3,
    "embedded": 3,
    "telemetry": 2,
    "demo": 2,
}
"""Over how many commits CI spreads the test modules of a folder and of the folders in it."""


@cache
def share_of(folder: str) -> Share:
    """The part of a folder's modules that this run has: all of them outside of CI."""
    return Share.of_commit(TESTS.parent, TURNS[folder] if os.environ.get("CI") else 1)


def has_turn(module: Path) -> bool:
    """Whether a test module runs; those of other folders always do."""
    for folder in TURNS:
        if module.is_relative_to(TESTS / folder):
            return module in _of_part(folder, share_of(folder))
    return True


@cache
def _of_part(folder: str, share: Share) -> frozenset[Path]:
    return frozenset(of_part(modules_of(folder), share))


def modules_of(folder: str) -> list[Path]:
    """The test modules of a folder, in their order."""
    return sorted((TESTS / folder).rglob("test_*.py"))


def of_part(modules: Iterable[Path], share: Share) -> list[Path]:
    """Each one's place in the list says when it has its turn, so that the parts are about equal."""
    return [module for place, module in enumerate(modules) if place % share.parts == share.part - 1]
