"""A ledger, a broker and a relay between them, in this process."""

from __future__ import annotations

import selectors
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import redis
from sqlalchemy import select, update

from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts, script
from penstock.engine.keeping import Ward
from penstock.engine.keeping.relay import Relay
from penstock.ledger import outbox
from penstock.ledger.records import FollowUp
from penstock.ledger.session import writing
from penstock.ledger.tables import outbox as table
from penstock.retention import DEFAULT

QUEUE = "mail"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def ward(broker_url: str, database_url: str, worker: str = "keeper/00000001") -> Ward:
    """A worker of this name that is kept in this process."""
    return Ward(
        scripts=Scripts(redis.Redis.from_url(broker_url), Keys()),
        tell=lambda **_: None,
        selector=selectors.DefaultSelector(),
        broker_url=broker_url,
        transport_options={},
        database_url=database_url,
        lease_seconds=10.0,
        crash_limit=3,
        retention=DEFAULT,
        workers=[worker],
        queues=[QUEUE],
    )


def follow_up(job_id: str, *, key: str = "", queue: str = QUEUE, due: datetime | None = None) -> FollowUp:
    """A message whose text is its key."""
    key = key or job_id
    return FollowUp(key=key, job_id=job_id, task="tests.note", queue=queue, step=0, due=due, payload=key.encode())


@dataclass
class Ground:
    """Short ways to bring about a state, and to look at it."""

    broker_url: str
    database_url: str

    def __post_init__(self) -> None:
        self.client: Any = redis.Redis.from_url(self.broker_url)
        self.keys = Keys()
        self.scripts = Scripts(self.client, self.keys)
        # A server that does not know it is asked twice, and a proxy that holds the first answer holds up the second.
        self.client.script_load(script("outbox").text)
        self._relays: list[Relay] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for relay in self._relays:
            relay.stop()
        for relay in self._relays:
            if relay.is_alive():
                relay.join()
            relay.close()
        self.client.close()

    def relay(self, worker: str = "keeper/00000001") -> Relay:
        """Another keeper's relay."""
        self._relays.append(Relay(ward(self.broker_url, self.database_url, worker), self.database_url))
        return self._relays[-1]

    def put(self, *job_ids: str, **options: Any) -> None:
        """Commits rows, as an application does."""
        with writing(self.database_url) as connection:
            outbox.put(connection, [follow_up(id, **options) for id in job_ids])

    def age(self, at: datetime = LONG_AGO) -> None:
        """Makes it so that all that is published was published then: long enough ago to be compared with Redis."""
        with writing(self.database_url) as connection:
            published = table.c.published_at.is_not(None)
            connection.execute(update(table).where(published).values(published_at=at))

    @property
    def waiting(self) -> list[str]:
        """Keys of the rows that are not published, in order."""
        return self._keys_where(table.c.published_at.is_(None))

    @property
    def published(self) -> list[str]:
        """Keys of the rows that are published, in order."""
        return self._keys_where(table.c.published_at.is_not(None))

    def _keys_where(self, condition: Any) -> list[str]:
        with writing(self.database_url) as connection:
            return list(connection.execute(select(table.c.key).where(condition).order_by(table.c.number)).scalars())

    @property
    def ready(self) -> list[str]:
        """Texts of the messages that are ready, first in line first."""
        return texts(self.client.lrange(self.keys.ready(QUEUE, 0), 0, -1)[::-1])


def texts(raws: Iterable[bytes]) -> list[str]:
    """The texts of messages, without the tags that they were sealed with."""
    return [raw.decode().removesuffix('"}}').rpartition(".")[0][:-11] for raw in raws]
