"""docs/client.md: the coroutine and the profile that it shows."""

import asyncio
import re
import sys
import types

import pytest

from penstock.profile import Profile
from tests.live import ROOT

PAGE = (ROOT / "docs/client.md").read_text()


def block_with(text: str) -> str:
    """The only example that has this text."""
    (block,) = (each for each in re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE) if text in each)
    return str(block)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """What the page declares, as a module."""
    module = types.ModuleType("penstocks_client_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    block = block_with("async def greet")
    exec(compile(block, "docs/client.md", "exec"), module.__dict__)  # noqa: S102  the page's own
    return module


def test_the_coroutine_that_it_declares_is_a_task_and_runs(page: types.ModuleType) -> None:
    greet = page.greet
    assert (greet.is_async, greet.defaults.timeout, greet.defaults.retry.attempts) == (True, 30, 5)
    assert asyncio.run(greet(name="Ada")) == "Hello, Ada"


def test_the_profile_that_it_shows_can_be_declared() -> None:
    block = block_with("Profile(")
    declared: dict[str, object] = {}
    exec(compile(block.replace("\nProfile(", "\nmade = Profile("), "docs/client.md", "exec"), declared)  # noqa: S102
    made = declared["made"]
    assert isinstance(made, Profile)
    assert (made.kind, made.size) == ("asyncio", 500)
