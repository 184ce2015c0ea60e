"""Replaying and discarding from a page: a few at once, many as an errand that shows how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

from penstock.flower.errands import Errand, Stopped
from penstock.flower.page import Page
from penstock.operations.failures import errand as failures
from penstock.operations.failures import pace
from penstock.operations.failures.bench import Advance
from penstock.operations.failures.errand import Steps, Terms
from penstock.operations.failures.pace import rate_of

AT_ONCE = 50
"""Jobs or messages that a page deals with before it answers."""
PATIENCE_SECONDS = 2.0
"""How long that may take with a speed limit."""
Act = Callable[[Advance, threading.Event], Steps]


class MendingPage(Page):
    """A page from which failures are replayed and discarded."""

    @property
    def rate(self) -> float | None:
        """So many a second, from the form; None: no limit.

        Raises:
            BadRate: what was typed is none.
        """
        typed = self.text("rate").strip()
        return rate_of(typed) if typed else None

    def replay_errand(self, errand: failures.Errand, title: str) -> str | Errand:
        """Runs failures again."""
        app, actor, rate = self.app, self.actor, self.rate

        def act(advance: Advance, stop: threading.Event) -> Steps:
            return failures.replay(app, errand, Terms(actor, rate, stop=stop), advance)

        return self.mend(f"Replaying {title}", "replayed", act, None if errand.is_more else errand.total)

    def discard_errand(self, errand: failures.Errand, title: str) -> str | Errand:
        """Gives failures up."""
        app, actor, rate = self.app, self.actor, self.rate

        def act(advance: Advance, stop: threading.Event) -> Steps:
            return failures.discard(app, errand, Terms(actor, rate, stop=stop), advance)

        return self.mend(f"Discarding {title}", "discarded", act, None if errand.is_more else errand.total)

    def mend(self, title: str, done: str, act: Act, total: int | None) -> str | Errand:
        """Does it now, or begins it if it takes long.

        Args:
            done: what has been done then, in one word.
            act: does it, step by step.
            total: how many jobs or messages it is about; None: nobody knows, they are many.
        """
        rate = self.rate

        def work(errand: Errand) -> str:
            return _done_by(act, errand, done)

        if total is None or total > AT_ONCE or (rate is not None and total / rate > PATIENCE_SECONDS):
            return self.begin(title, work, total)
        return work(Errand(title, self.actor, self.back, total=total))


def _done_by(act: Act, errand: Errand, verb: str) -> str:
    """Does all of it; says how much was done, and why the rest was not."""
    done = left = 0
    why = ""

    def advance(count: int) -> None:
        errand.done += count

    try:
        with closing(act(advance, errand.is_to_stop)) as steps:
            for each in steps:
                if each.done:
                    done += each.messages
                else:
                    left, why = left + 1, why or f"{each.entry} {each.text}"
    except pace.Stopped:
        raise Stopped from None
    rest = f"; {left:,} could not be: {why}" if left else ""
    return f"{done:,} {verb}{rest}"
