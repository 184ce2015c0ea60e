"""Replaying and discarding from a page: a few at once, many as an errand that shows how far it is."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing

from penstock.flower.errands import Errand
from penstock.flower.page import Page
from penstock.operations.failures import mending
from penstock.operations.failures.bench import Advance, Done
from penstock.operations.failures.mending import Target, messages_of
from penstock.operations.failures.pace import rate_of

AT_ONCE = 50
"""Jobs or messages that a page deals with before it answers."""
PATIENCE_SECONDS = 2.0
"""How long that may take with a speed limit."""
Act = Callable[[Advance], Generator[Done, None, None]]


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

    def replay_targets(self, targets: list[Target], title: str) -> str | Errand:
        """Runs messages again."""
        app, actor, rate = self.app, self.actor, self.rate

        def act(advance: Advance) -> Generator[Done, None, None]:
            return mending.replay(app, targets, actor=actor, rate=rate, advance=advance)

        return self.mend(f"Replaying {title}", "replayed", act, messages_of(targets))

    def discard_targets(self, targets: list[Target], title: str) -> str | Errand:
        """Gives messages up."""
        app, actor, rate = self.app, self.actor, self.rate

        def act(advance: Advance) -> Generator[Done, None, None]:
            return mending.discard(app, targets, actor=actor, rate=rate, advance=advance)

        return self.mend(f"Discarding {title}", "discarded", act, messages_of(targets))

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
        errand.advance(errand.done + count)

    with closing(act(advance)) as steps:
        for each in steps:
            if each.done:
                done += each.messages
            else:
                left, why = left + 1, why or f"{each.entry} {each.text}"
    rest = f"; {left:,} could not be: {why}" if left else ""
    return f"{done:,} {verb}{rest}"
