"""How a test declares that an engine breaks Celery's promise on purpose."""

from collections.abc import Callable
from typing import TypeVar

Test = TypeVar("Test", bound=Callable[..., None])


def differs(*, penstock: str) -> Callable[[Test], Test]:
    """Says in one sentence what an engine does instead, and why; ``generate.py`` reads it from the source."""

    def unchanged(test: Test) -> Test:
        return test

    return unchanged
