"""What the shop's tests share."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def books_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOP_BOOKS", str(tmp_path / "books"))
    return tmp_path / "books"


@pytest.fixture
def lines(books_path: Path) -> Callable[[], list[str]]:
    """What the shop has written into its books."""
    return lambda: books_path.read_text().splitlines() if books_path.exists() else []
