"""All guards. One module of ``guards`` for each part of the system."""

from tests.mutants.guard import Guard
from tests.mutants.guards import (
    balance,
    books,
    broker,
    client,
    engine,
    history,
    keeper,
    keeping,
    leaving,
    ledger,
    outbox,
    recording,
    scheduler,
    scripts,
    series,
    tasks,
    waiting,
    worker,
)

GUARDS: tuple[Guard, ...] = (
    *scripts.GUARDS,
    *broker.GUARDS,
    *keeper.GUARDS,
    *keeping.GUARDS,
    *engine.GUARDS,
    *worker.GUARDS,
    *leaving.GUARDS,
    *ledger.GUARDS,
    *recording.GUARDS,
    *books.GUARDS,
    *history.GUARDS,
    *series.GUARDS,
    *outbox.GUARDS,
    *balance.GUARDS,
    *client.GUARDS,
    *waiting.GUARDS,
    *scheduler.GUARDS,
    *tasks.GUARDS,
)
