"""The engines under test are what they say"""

from tests.celery_promises import jobs
from tests.celery_promises.engines import ENGINES
from tests.celery_promises.system import System


def test_parts(system: System) -> None:
    """Each engine's worker really runs the pool, transport and result backend that the table names."""
    engine = system.engine
    parts = system.inspect("_request", "parts")
    assert (parts["pool"], parts["transport"], parts["backend"]) == (engine.pool, engine.transport, engine.backend)


def test_stock_is_stock(system: System) -> None:
    """The stock engine's worker imports nothing of Penstock, and Penstock's does."""
    assert bool(system.inspect("_request", "parts")["penstock"]) is system.engine.uses_penstock


def test_producer(system: System) -> None:
    """This process publishes over the engine's own transport as well, and the stock one adds nothing of Penstock's."""
    with system.app.connection_for_write() as connection:
        kind = type(connection.transport)
    assert f"{kind.__module__}:{kind.__qualname__}" == system.engine.transport
    if not system.engine.uses_penstock:
        assert jobs.context.delay().get(timeout=10)["headers"] is None


def test_stock_is_in_the_table() -> None:
    """Every promise is kept by stock Celery first."""
    assert ENGINES[0].name == "stock"
