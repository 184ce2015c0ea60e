"""What the promises are tested on: a table of engines, each an application module run by real worker processes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Engine:
    """One way of running the same tasks; ``pool``, ``transport`` and ``backend`` name the classes that must run."""

    name: str
    title: str
    module: str
    pool: str
    transport: str
    backend: str
    uses_penstock: bool
    command: str = "celery"


ENGINES = [
    Engine(
        name="stock",
        title="Celery 5.7.0, kombu 5.7.0",
        module="tests.celery_promises.stock_app",
        pool="celery.concurrency.prefork:TaskPool",
        transport="kombu.transport.redis:Transport",
        backend="celery.backends.redis:RedisBackend",
        uses_penstock=False,
        command="tests.celery_promises.stock_celery",
    ),
    Engine(
        name="penstock",
        title="Penstock's broker, Celery's prefork pool",
        module="tests.celery_promises.penstock_app",
        pool="celery.concurrency.prefork:TaskPool",
        transport="penstock.broker.transport:Transport",
        backend="celery.backends.redis:RedisBackend",
        uses_penstock=True,
    ),
]
