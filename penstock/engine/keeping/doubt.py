"""Messages that may have come back: whether their jobs run at a worker that lives."""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import RedisError

from penstock.engine.keeping import Ward
from penstock.job import State
from penstock.ledger.deliveries import states_of
from penstock.ledger.records import Record
from penstock.ledger.session import reading


class Doubt:
    """After Redis was restarted or replaced it may have forgotten claims; the ledger and the leases know better."""

    def __init__(self, ward: Ward, database_url: str) -> None:
        self._ward = ward
        self._database_url = database_url

    def look_up(self, records: Sequence[Record]) -> set[str | None]:
        """Tokens of those whose jobs run elsewhere at this moment.

        Raises:
            LedgerUnavailable: SQL does not answer.
        """
        with reading(self._database_url) as connection:
            known = states_of(connection, [record.delivery.id for record in records])
        running = {id: standing for id, standing in known.items() if standing.state is State.RUNNING}
        if not running:
            return set()
        try:
            live = {worker.decode().rpartition("/")[0] for worker in self._live()}
        except (RedisError, OSError):
            return {record.delivery.token for record in records}  # Nobody can tell; they are looked at again.
        return {
            record.delivery.token
            for record in records
            if (standing := running.get(record.delivery.id)) and standing.worker in live
        }

    def _live(self) -> list[bytes]:
        scripts = self._ward.scripts
        return list(scripts.client.zrange(scripts.keys.leases, 0, -1))
