"""CI asks for the live modules in turns, and leaves none out."""

from tests.flower.share import LIVE, PARTS, has_turn, of_part
from tests.share import Share


def test_each_module_has_its_turn_once() -> None:
    modules = sorted(LIVE.glob("test_*.py"))
    turns = [module for part in range(PARTS) for module in of_part(modules, Share(part + 1, PARTS))]
    assert sorted(turns) == modules


def test_whatever_is_not_live_has_its_turn_always() -> None:
    assert has_turn(LIVE.parent / "test_roles.py")
