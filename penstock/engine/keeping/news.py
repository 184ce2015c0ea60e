"""Tells the worker what others have said: revocations, and tasks that wait for somebody who knows them."""

from __future__ import annotations

from itertools import chain
from typing import Any

from penstock.broker.keys import FIELD_SEPARATOR
from penstock.engine.keeping import Duty, Ward

TICK_SECONDS = 0.5


class News(Duty):
    """A running job hears of its revocation from here; a waiting one is stopped at its claim."""

    def __init__(self, ward: Ward) -> None:
        super().__init__(ward)
        self._version = 0
        self._unknown: list[list[str]] = []

    def perform(self) -> float:
        """Tells what is new."""
        self._tell_revocations()
        self._tell_unknown_tasks()
        return TICK_SECONDS

    def _tell_revocations(self) -> None:
        client, keys = self.ward.scripts.client, self.ward.scripts.keys
        version = int(client.get(keys.revoked_version) or 0)
        if version <= self._version:
            return
        first = f"({self._version}"
        ids: list[Any] = client.zrange(keys.revoked, first, "+inf", byscore=True, withscores=True)
        stamps: list[Any] = client.zrange(keys.revoked_stamps, first, "+inf", byscore=True, withscores=True)
        self._version = int(max((score for _, score in chain(ids, stamps)), default=version))
        signals = client.hmget(keys.revoked_signals, [id for id, _ in ids]) if ids else []
        self.ward.tell(
            cancelled=self._cancelled([id.decode() for id, _ in ids]),
            signals={id.decode(): sent.decode() for (id, _), sent in zip(ids, signals, strict=True) if sent},
            revoked=[id.decode() for id, _ in ids],
            stamps=[stamp.decode().split(FIELD_SEPARATOR, 1) for stamp, _ in stamps],
            version=self._version,
        )

    def _cancelled(self, ids: list[str]) -> dict[str, float | None]:
        """Those of these that are cancelled and have not ended, and how many seconds each may go on."""
        if not ids:
            return {}
        client, keys = self.ward.scripts.client, self.ward.scripts.keys
        kept, (seconds, micros) = client.pipeline().hmget(keys.cancelling, ids).time().execute()
        now = int(seconds) + int(micros) / 1e6
        stops = {id: each.decode().partition(":")[2] for id, each in zip(ids, kept, strict=True) if each}
        return {id: max(int(stop) / 1000 - now, 0.0) if stop else None for id, stop in stops.items()}

    def _tell_unknown_tasks(self) -> None:
        kept = self.ward.scripts.client.hvals(self.ward.scripts.keys.unknown)
        unknown = sorted(value.decode().rsplit(FIELD_SEPARATOR, 2) for value in kept)
        if unknown != self._unknown:
            self._unknown = unknown
            self.ward.tell(unknown=unknown)
