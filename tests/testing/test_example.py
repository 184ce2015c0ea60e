"""The kit in the hands of its users: the tests of a small shop, and of a plain Celery project that has adopted."""

from pathlib import Path

import pytest

from tests.testing.project import EXAMPLE, Run, names_in, run

pytestmark = pytest.mark.timeout(300)
SHOP = [(path.name, name) for path in sorted((EXAMPLE / "checks").glob("check_*.py")) for name in names_in(path)]
LEGACY = [("check_legacy.py", name) for name in names_in(EXAMPLE / "adopted/check_legacy.py")]


def asked_for(request: pytest.FixtureRequest, function: str, folder: str) -> list[str]:
    """Those tests of the project that are looked at in this run."""
    items = [item for item in request.session.items if getattr(item, "originalname", "") == function]
    params = [item.callspec.params for item in items]  # type: ignore[attr-defined]
    return [f"{folder}/{each['file']}::{each['name']}" for each in params]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def shop(request: pytest.FixtureRequest, folder: Path) -> Run:
    """By two processes of pytest-xdist, each with servers of its own."""
    tests = asked_for(request, "test_the_shop", "checks")
    return run(EXAMPLE, folder / "shop.xml", "-p", "xdist", "-n", "2", *tests)


@pytest.fixture(scope="module")
def legacy(request: pytest.FixtureRequest, folder: Path) -> Run:
    tests = asked_for(request, "test_the_celery_project", "adopted")
    return run(EXAMPLE, folder / "legacy.xml", "-o", "penstock_app=legacy.celery", *tests)


@pytest.mark.parametrize(("file", "name"), SHOP, ids=[name for _, name in SHOP])
def test_the_shop(shop: Run, file: str, name: str) -> None:
    assert shop.passed(name), shop.output


@pytest.mark.parametrize(("file", "name"), LEGACY, ids=[name for _, name in LEGACY])
def test_the_celery_project(legacy: Run, file: str, name: str) -> None:
    assert legacy.passed(name), legacy.output
