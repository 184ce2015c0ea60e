"""The kit in the hands of its users: the tests of a small shop, and of a plain Celery project that has adopted."""

from pathlib import Path

import pytest

from tests.testing.project import EXAMPLE, Run, names_in, run

CHECKS = [(path.name, name) for path in sorted((EXAMPLE / "checks").glob("check_*.py")) for name in names_in(path)]
LEGACY = [("check_legacy.py", name) for name in names_in(EXAMPLE / "adopted/check_legacy.py")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def shop(folder: Path) -> Run:
    return run(EXAMPLE, folder / "shop.xml", "checks")


@pytest.fixture(scope="module")
def legacy(folder: Path) -> Run:
    return run(EXAMPLE, folder / "legacy.xml", "-o", "penstock_app=legacy.celery", "adopted")


@pytest.mark.parametrize(("file", "name"), CHECKS, ids=[name for _, name in CHECKS])
def test_the_shop(shop: Run, file: str, name: str) -> None:
    assert name in shop.outcomes, shop.output
    assert shop.outcomes[name].passed, shop.outcomes[name].message


@pytest.mark.parametrize(("file", "name"), LEGACY, ids=[name for _, name in LEGACY])
def test_the_celery_project(legacy: Run, file: str, name: str) -> None:
    assert name in legacy.outcomes, legacy.output
    assert legacy.outcomes[name].passed, legacy.outcomes[name].message
