"""Deliveries that may not start before the ledger has said so.

A first delivery starts at once. One that was delivered before, a retry, one from the outbox, and one that Redis may
have brought back after a restart first take their start row: if the job has ended meanwhile, or a newer attempt has
it, its body does not run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from penstock.broker import envelope
from penstock.broker.claims import Claims
from penstock.engine.comeback import Comebacks
from penstock.ledger.delivery import describe_message
from penstock.ledger.records import Record, Step, Verdict
from penstock.message import OUTBOX, REPLAY_OF

logger = logging.getLogger(__name__)
LATER_SECONDS = 5.0
"""After which a message is looked at again whose job seems to run elsewhere."""


class Asked(Protocol):
    """The way to the keeper, who knows the ledger."""

    def ask(self, record: Record, is_doubtful: bool) -> None:
        """Asks whether a delivery may start; the news ``started`` bring its token and the verdict."""


class _Held(NamedTuple):
    """A message that waits for the ledger's word."""

    message: Any
    handle: Callable[[Any], Any]
    question: tuple[Record, bool]


class Gate:
    """Holds messages up until the keeper has answered."""

    def __init__(self, link: Asked, claims: Claims, comebacks: Comebacks) -> None:
        self.comebacks = comebacks
        self._link = link
        self._claims = claims
        self._held: dict[str, _Held] = {}

    def holds_up(self, message: Any, handle: Callable[[Any], Any]) -> bool:
        """Whether the message has to wait; :meth:`open` then calls ``handle``, or ends the claim."""
        is_doubtful = self.comebacks.is_doubtful(message.headers or {})
        if not (is_doubtful or _was_sent_before(message)):
            return False
        body = envelope.body({"body": message.body, "properties": {}})
        info = {**message.delivery_info, "priority": message.properties.get("priority")}
        delivery = describe_message(message.headers, body, info, self._claims.hostname)
        if delivery is None or delivery.token is None:
            return False
        now = datetime.now(UTC)
        # With the key, a job that has ended goes out of the outbox: nobody would publish it again for nothing.
        row = (message.headers or {}).get(OUTBOX)
        start = Record(step=Step.START, delivery=delivery.encoded(), started_at=now, at=now, outbox_key=row)
        question = start, is_doubtful
        self._held[delivery.token] = _Held(message, handle, question)
        self._link.ask(*question)
        return True

    def ask_again(self) -> None:
        """Asks once more of all that wait, for somebody who may have missed an answer."""
        for held in self._held.values():
            if self._claims.holds(held.message.delivery_tag):
                self._link.ask(*held.question)

    def open(self, answers: Iterable[tuple[str, Verdict | None]]) -> None:
        """Lets those start that have won, and ends the claims of the others."""
        for token, verdict in answers:
            held = self._held.pop(token, None)
            if held is None or not self._claims.holds(held.message.delivery_tag):
                continue  # Its claim was taken away meanwhile.
            message = held.message
            if verdict is None:
                later = self._claims.server_ms() + int(LATER_SECONDS * 1000)
                self._claims.settle(message.delivery_tag, "park", str(later))
            elif verdict == Verdict.WON:
                held.handle(message)
            else:
                logger.info("job %s has ended or goes on elsewhere; it does not start again", message.headers["id"])
                self._claims.acknowledge(message.delivery_tag)


def _was_sent_before(message: Any) -> bool:
    headers, info = message.headers or {}, message.delivery_info or {}
    # A replay comes twice, as one job, if whoever sent it died before that was noted and somebody repeats it.
    return bool(info.get("deliveries") or any(map(headers.get, ("retries", OUTBOX, REPLAY_OF))))
