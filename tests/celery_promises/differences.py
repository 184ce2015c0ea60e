"""How a test declares that an engine breaks Celery's promise on purpose."""

from collections.abc import Callable
from typing import TypeVar

Test = TypeVar("Test", bound=Callable[..., None])


def differs(*, penstock: str = "", engine: str = "") -> Callable[[Test], Test]:
    """Says in one sentence what an engine does instead, and why; ``generate.py`` reads it from the source.

    What our broker does instead (``penstock``) is so with our pool (``engine``) as well.
    """

    def unchanged(test: Test) -> Test:
        return test

    return unchanged
