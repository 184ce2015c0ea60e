"""Writes outcomes of workers that ended while SQL was away. They wait in Redis, in place of their messages."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence

from redis.exceptions import RedisError

from penstock.engine.keeping import Ward
from penstock.errors import PenstockError
from penstock.ledger.records import Record

logger = logging.getLogger("penstock.keeper")
SLICE = 200


class Spool:
    """Of all workers of this broker."""

    def __init__(self, ward: Ward) -> None:
        self._ward = ward
        self._has_failed = False

    def perform(self, write: Callable[[Sequence[Record]], object]) -> None:
        """Has everything written that waits; two keepers may do it at once, because a record knows its token.

        Args:
            write: returns when the records are committed.
        """
        try:
            while self._write_slice(write):
                pass
            self._has_failed = False
        except (RedisError, OSError, PenstockError) as error:
            if not self._has_failed:
                logger.warning("outcomes of ended workers stay in Redis for now: %s", error)
            self._has_failed = True

    def _write_slice(self, write: Callable[[Sequence[Record]], object]) -> bool:
        client, keys = self._ward.scripts.client, self._ward.scripts.keys
        found = client.hrandfield(keys.spool, SLICE, withvalues=True)
        if not found:
            return False
        names, texts = found[::2], found[1::2]
        records = [Record.from_words(words) for text in texts for words in json.loads(text)]
        write(records)
        # After the commit, which deletes the outbox rows of these messages: until then nobody may miss them in Redis.
        done = client.pipeline().hdel(keys.spool, *names)
        if outbox_keys := [record.outbox_key for record in records if record.outbox_key]:
            done.hdel(keys.outbox, *outbox_keys)
        done.execute()
        return True
