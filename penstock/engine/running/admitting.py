"""Jobs of tasks whose breaker is not closed: whether they may start, as Redis says when they are about to.

What is known here of breakers is up to a second old, so it only says whose jobs are to be asked about. What may start
and what is put aside is decided by a script, in one step with it, for all jobs of a claim together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from penstock.broker.claims import Claims
from penstock.broker.scripts import ADMITTED, SETTLED, Settlement


class Candidate(NamedTuple):
    """A claimed job that has not started."""

    token: str
    task: str
    id: str
    """Of the job; empty if it has none."""


class Refused(NamedTuple):
    """Tokens of jobs that do not start here; their claims have ended."""

    all: frozenset[str]
    aside: frozenset[str]
    """Of those that were put aside; the others went back, or were taken away."""


NOBODY = Refused(frozenset(), frozenset())


class Admission:
    """Of one process that claims."""

    def __init__(self, claims: Claims, settle: Callable[[Sequence[Settlement]], list[int]]) -> None:
        """Args:
        settle: ends claims at once and waits for the answers; none where Redis gave none.
        """
        self._claims = claims
        self._settle = settle
        self.broken: frozenset[str] = frozenset()
        """Tasks whose breaker was not closed a moment ago."""

    def refuse(self, candidates: Iterable[Candidate]) -> Refused:
        """Those among these that may not start."""
        asked = [
            (each, place)
            for each in candidates
            if each.task in self.broken and (place := self._claims.place(each.token)) is not None
        ]
        if not asked:
            return NOBODY
        tokens = [each.token for each, _ in asked]
        answers = self._settle([Settlement(*place, each.token, "admit", each.task, each.id) for each, place in asked])
        if not answers:
            # Should they be aside by now, and only the answer be lost, nobody has these claims and this does nothing.
            for token in reversed(tokens):
                self._claims.settle(token, "return")
            return Refused(frozenset(tokens), frozenset())
        ended = {token: answer for token, answer in zip(tokens, answers, strict=True) if answer != ADMITTED}
        for token in ended:
            self._claims.take(token, "admit")
        return Refused(frozenset(ended), frozenset(token for token, answer in ended.items() if answer == SETTLED))
