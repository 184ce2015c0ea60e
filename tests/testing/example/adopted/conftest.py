"""The books of the plain Celery project's tests."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOP_BOOKS", str(tmp_path / "books"))
    return tmp_path / "books"
