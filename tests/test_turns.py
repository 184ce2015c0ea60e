"""CI asks for modules in turns, and leaves none out."""

import pytest

from tests.share import Share
from tests.turns import TESTS, TURNS, has_turn, modules_of, of_part


@pytest.mark.parametrize("folder", TURNS)
def test_each_module_has_its_turn_once(folder: str) -> None:
    modules, parts = modules_of(folder), TURNS[folder]
    turns = [module for part in range(parts) for module in of_part(modules, Share(part + 1, parts))]
    assert sorted(turns) == modules
    assert modules


def test_other_modules_have_their_turn_always() -> None:
    assert has_turn(TESTS / "operations" / "test_overview.py")


def test_with_ci_a_commit_has_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    from tests import turns

    monkeypatch.setattr(turns, "share_of", lambda folder: Share(1, TURNS[folder]))
    chosen = [module for module in modules_of("engine") if has_turn(module)]
    assert 0 < len(chosen) < len(modules_of("engine"))
