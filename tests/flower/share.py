"""Which of the live modules of Flower's pages a run has: all of them, or in CI those whose turn it is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tests.share import Share

ROOT = Path(__file__).parent.parent.parent
LIVE = Path(__file__).with_name("live")
PARTS = 4
"""Commits over which CI spreads them: together they take as long as half of all other tests."""


@cache
def live_share() -> Share:
    """The part of this run."""
    return Share.of_commit(ROOT, PARTS if os.environ.get("CI") else 1)


def has_turn(module: Path) -> bool:
    """Whether a test module runs; those elsewhere always do."""
    return module.parent != LIVE or module in of_part(sorted(LIVE.glob("test_*.py")), live_share())


def of_part(modules: Iterable[Path], share: Share) -> list[Path]:
    """Each one's place in the list says when it has its turn, so that the parts are about equal."""
    return [module for place, module in enumerate(modules) if place % share.parts == share.part - 1]
