"""celeryconfig.py: only keys that Celery knows, JSON only, nothing but settings."""

import ast
from pathlib import Path

import pytest
from celery.app.defaults import NAMESPACES, flatten

from penstock.app import PenstockApp

CONFIG = Path(__file__).parent.parent / "celeryconfig.py"
KNOWN = {key for key, _ in flatten(NAMESPACES)}


def keys(source: str) -> set[str]:
    targets = [target for node in ast.parse(source).body if isinstance(node, ast.Assign) for target in node.targets]
    return {target.id for target in targets if isinstance(target, ast.Name) and not target.id.startswith("_")}


def test_every_key_is_one_that_celery_knows() -> None:
    """Celery itself accepts a misspelt setting in silence."""
    assert keys(CONFIG.read_text()) - KNOWN == set()


def test_the_check_of_keys_sees_a_misspelt_one() -> None:
    assert keys("broker_ulr = 1") - KNOWN == {"broker_ulr"}


def test_it_imports_nothing_but_penstocks_settings() -> None:
    imports = [
        node for node in ast.walk(ast.parse(CONFIG.read_text())) if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert [ast.unparse(node) for node in imports] == ["from penstock.config import Settings as _Settings"]


@pytest.mark.parametrize("key", ["accept_content", "result_accept_content"])
def test_nothing_but_json_is_accepted(app: PenstockApp, key: str) -> None:
    assert app.conf[key] == ["json"]


@pytest.mark.parametrize("key", ["task_serializer", "result_serializer", "event_serializer"])
def test_nothing_but_json_is_written(app: PenstockApp, key: str) -> None:
    assert app.conf[key] == "json"


def test_values_come_from_the_settings(app: PenstockApp) -> None:
    assert app.conf.broker_url == app.settings.redis_url
    assert app.conf.worker_soft_shutdown_timeout == app.settings.drain_seconds
    assert app.conf.timezone == app.settings.timezone
    assert app.backend.as_uri(include_password=True) == app.settings.database_url
