"""Jobs of tasks whose breaker is not closed: whether they may start, as Redis says when they are about to.

What is known here of breakers is up to a second old, so it only says whose jobs are to be asked about. What may start
and what is put aside is decided by a script, in one step with it, for all jobs of a claim together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from penstock.broker import envelope
from penstock.broker.claims import Claims
from penstock.broker.scripts import ADMITTED, SETTLED, Settlement
from penstock.engine.attempts import Attempt, Tell
from penstock.engine.revoking import Revocations
from penstock.ledger.values import claim_token


class Candidate(NamedTuple):
    """A claimed job that has not started."""

    token: str
    task: str
    id: str
    """Of the job; empty if it has none."""
    is_over: bool = False
    """Whether it ends without having started, see :func:`is_over`: then it is neither put aside nor tried."""


def is_over(headers: Mapping[str, Any], revocations: Revocations, now_ms: float) -> bool:
    """Whether the job of a message is revoked, or has expired.

    Args:
        now_ms: by the clock that the message's times are meant by.
    """
    if revocations.knows(headers.get("id")):
        return True
    expires_ms = envelope.moment_ms(headers.get("expires"))
    return expires_ms is not None and expires_ms <= now_ms


class Refused(NamedTuple):
    """Tokens of jobs that do not start here; their claims have ended."""

    all: frozenset[str]
    aside: frozenset[str]
    """Of those that were put aside; the others went back, or were taken away."""


NOBODY = Refused(frozenset(), frozenset())


class Admission:
    """Of one process that claims."""

    def __init__(self, claims: Claims, settle: Callable[[Sequence[Settlement]], list[int]], tell: Tell) -> None:
        """Args:
        settle: ends claims at once and waits for the answers; none where Redis gave none.
        tell: tells the keeper of attempts, after what bodies have told that ended before.
        """
        self._claims = claims
        self._settle = settle
        self._tell = tell
        self._open: dict[str, Attempt] = {}
        """By their tokens, claims of which one that is to start may be a probe, or stand for one."""
        self.broken: frozenset[str] = frozenset()
        """Tasks whose breaker was not closed a moment ago."""

    def refuse(self, candidates: Iterable[Candidate]) -> Refused:
        """Those among these that may not start."""
        asked = []
        for each in candidates:
            if each.task not in self.broken or (place := self._claims.place(each.token)) is None:
                continue
            self._open[each.token] = Attempt(each.task, claim_token(place[0], each.token) or "", None, "")
            if not each.is_over:
                asked.append((each, place))
        if not asked:
            return NOBODY
        tokens = [each.token for each, _ in asked]
        answers = self._settle([Settlement(*place, each.token, "admit", each.task, each.id) for each, place in asked])
        if not answers:
            # Should they be aside by now, and only the answer be lost, nobody has these claims and this does nothing.
            # Should they have been admitted, they are told of as claims that have ended.
            for token in reversed(tokens):
                self._claims.settle(token, "return")
            return Refused(frozenset(tokens), frozenset())
        ended = {token: answer for token, answer in zip(tokens, answers, strict=True) if answer != ADMITTED}
        for token in ended:
            # In this order, so that another thread never finds it here as a claim that has ended.
            del self._open[token]
            self._claims.take(token, "admit")
        return Refused(frozenset(ended), frozenset(token for token, answer in ended.items() if answer == SETTLED))

    def tell_ended(self) -> None:
        """Tells of claims that have ended since. Where no body has told of an attempt, because the job was cancelled,
        has expired, was parked or given back, or its body put it off, the breaker would wait for its answer in vain.
        """
        for token in list(self._open):
            if not self._claims.holds(token):
                self._tell(self._open.pop(token))
