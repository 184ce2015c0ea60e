"""All guards. One module of ``guards`` for each part of the system."""

from tests.mutants.guard import Guard
from tests.mutants.guards import books, broker, client, keeper, leaving, ledger, recording, scripts, tasks, worker

GUARDS: tuple[Guard, ...] = (
    *scripts.GUARDS,
    *broker.GUARDS,
    *keeper.GUARDS,
    *worker.GUARDS,
    *leaving.GUARDS,
    *ledger.GUARDS,
    *recording.GUARDS,
    *books.GUARDS,
    *client.GUARDS,
    *tasks.GUARDS,
)
