"""What the promises are tested on: a table of engines, each an application module run by real worker processes."""

import os
from dataclasses import dataclass
from functools import cache

from tests.live import ROOT
from tests.share import Share

OUR_PARTS, CELERYS_PARTS = 4, 12
"""Stock Celery and its pool under our broker keep every promise; each commit has CI look again at one part of them."""


@dataclass(frozen=True)
class Engine:
    """One way of running the same tasks; ``pool``, ``transport`` and ``backend`` name the classes that must run.

    ``options`` are given to every worker. What ``stands_on`` another engine differs where that one does. One that
    ``takes_ahead`` has messages for processes that are busy.
    """

    name: str
    title: str
    module: str
    pool: str
    transport: str
    backend: str
    uses_penstock: bool
    command: str = "tests.celery_promises.whole_celery"
    options: tuple[str, ...] = ()
    stands_on: str = ""
    takes_ahead: bool = True

    def differs(self, reasons: dict[str, str]) -> str | None:
        """Why it does something else, of the reasons that a test gives by engine."""
        return reasons.get(self.name) or reasons.get(self.stands_on)


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
        options=("-P", "processes"),
    ),
    Engine(
        name="engine",
        title="Penstock's broker, Penstock's pool",
        module="tests.celery_promises.penstock_app",
        pool="penstock.engine.pool:Pool",
        transport="penstock.broker.transport:Transport",
        backend="celery.backends.redis:RedisBackend",
        uses_penstock=True,
        stands_on="penstock",
        takes_ahead=False,
    ),
]


@cache
def ours_share() -> Share:
    """The same of our own engine."""
    return Share.of_commit(ROOT, OUR_PARTS if os.environ.get("CI") else 1)


@cache
def celerys_share() -> Share:
    """The modules whose promises engines on Celery's own pool must keep in this run: all, except in CI."""
    return Share.of_commit(ROOT, CELERYS_PARTS if os.environ.get("CI") else 1)


def engines_for(module: str) -> list[str]:
    """Names of the engines that must keep the promises of a module."""
    name = module.rpartition(".")[2]
    asked = {True: celerys_share().has(name), False: ours_share().has(name)}
    return [engine.name for engine in ENGINES if asked[engine.name != "engine"]]
