"""Moves dead entries from Redis into the ledger."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from redis.exceptions import RedisError

from penstock.broker import envelope
from penstock.broker.scripts import Scripts
from penstock.engine.keeping import Ward
from penstock.engine.keeping.counting import Counting
from penstock.errors import PenstockError
from penstock.job import Reason
from penstock.ledger import letters, outbox
from penstock.ledger.delivery import describe_message
from penstock.ledger.recording import Written
from penstock.ledger.recording.plain import PlainSuccess
from penstock.ledger.records import Part, Record
from penstock.ledger.rows import DeadLetter, Delivery
from penstock.ledger.session import writing
from penstock.ledger.tables import Kind
from penstock.ledger.unlocking import part_of

logger = logging.getLogger("penstock.keeper")
SLICE = 100


class Burial:
    """Of messages that nobody could run. They stay in Redis until their rows are committed."""

    def __init__(self, ward: Ward, database_url: str, counting: Counting) -> None:
        self._ward = ward
        self._counting = counting
        self._database_url = database_url
        self._has_failed = False

    def perform(self) -> None:
        """Moves all there is; what cannot be moved now is tried again."""
        try:
            while bury_slice(self._ward.scripts, self._database_url, self._counting) == SLICE:
                pass
            self._has_failed = False
        except (RedisError, OSError, PenstockError) as error:
            if not self._has_failed:
                logger.warning("dead letters stay in Redis for now: %s", error)
            self._has_failed = True


def bury_slice(scripts: Scripts, database_url: str, counting: Counting | None = None) -> int:
    """Moves the oldest entries into the ledger; how many.

    Several may do it at once: an entry's row is written once, and its removal from Redis comes after the commit.
    """
    client, keys = scripts.client, scripts.keys
    entries = client.lrange(keys.dead, 0, SLICE - 1)
    found = [(entry, client.hgetall(keys.dead_entry(entry.decode()))) for entry in entries]
    outbox_keys = envelope.from_outbox(kept[b"raw"] for _, kept in found if kept)
    ends: list[tuple[Sequence[Record | PlainSuccess], Written]] = []
    if found:
        with writing(database_url) as connection:
            dead = [dead_letter(entry.decode(), kept) for entry, kept in found if kept]
            letters.bury(connection, dead, lambda *written: ends.append(written))
            outbox.forget(connection, outbox_keys)
    if counting is not None:
        for records, written in ends:
            counting.count(records, written)
    if outbox_keys:  # Not before the row is gone, or the message would look like one that Redis has lost.
        client.hdel(keys.outbox, *outbox_keys)
    for entry, _ in found:
        client.pipeline().lrem(keys.dead, 1, entry).delete(keys.dead_entry(entry.decode())).execute()
    return len(found)


def dead_letter(entry: str, kept: dict[bytes, bytes]) -> DeadLetter:
    """A dead entry as the ledger takes it. Anyone may have written the message in it."""
    queue, step, kind = kept[b"queue"].decode(), int(kept[b"step"]), Kind(kept[b"kind"].decode())
    died = kind is Kind.BURIED and not kept[b"job"]
    job, part = told_by(kept[b"raw"], queue, step)
    return DeadLetter(
        id=entry,
        kind=kind,
        queue=queue,
        step=step,
        reason=kept[b"reason"].decode(errors="replace"),
        payload=kept[b"raw"],
        deliveries=int(kept[b"deliveries"]),
        at=datetime.fromtimestamp(int(kept[b"at"]) / 1000, UTC),
        job=job,
        part=part,
        cause=Reason.CRASHED if died else Reason.UNREADABLE,
    )


def told_by(raw: bytes, queue: str, step: int) -> tuple[Delivery | None, Part | None]:
    """What the message says of its job, and of a chord that this is part of."""
    try:
        payload = envelope.read(raw)
        body = envelope.body(payload)
    except envelope.Unreadable:
        return None, None
    headers = payload["headers"]
    embed = body[2] if isinstance(body, list) and len(body) > 2 and isinstance(body[2], dict) else {}
    group, position, root = (headers.get(name) for name in ("group", "group_index", "root_id"))
    part = part_of(headers.get("id"), group, position, embed.get("chord"), queue, root)
    return describe_message(headers, body, {"routing_key": queue, "priority": step}), part
