"""Work that takes longer than a page: it goes on in a thread, and a page shows how far it is.

It ends with Flower. What it has done by then is on the books, and what it has not is as it was.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from penstock.errors import PenstockError

logger = logging.getLogger(__name__)
REMEMBERED = 50
MOST_AT_ONCE = 3
"""Flower has few threads, and its pages need some."""


class TooManyErrands(PenstockError):
    """So much is being done already; wait until one of it has ended."""


class Stopped(Exception):
    """Somebody has stopped an errand."""


@dataclass
class Errand:
    """One piece of work.

    Attributes:
        title: what is done, for people.
        actor: who has asked for it.
        back: the page to go on at.
        done: how much of it is.
        total: of how much; None: nobody knows.
        sentence: how it ended; empty while it goes on.
        has_failed: whether it ended before all was done.
        is_bad_news: whether what it says at its end is to worry people.
        found: what it was to find out, for the page to go on at.
        is_to_stop: set when somebody has stopped it, for work that ends by itself.
    """

    title: str
    actor: str
    back: str
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    done: int = 0
    total: int | None = None
    sentence: str = ""
    has_failed: bool = False
    is_bad_news: bool = False
    found: object = None
    is_to_stop: threading.Event = field(default_factory=threading.Event)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return bool(self.sentence)

    @property
    def percent(self) -> int | None:
        """How much of it is done; None: nobody knows."""
        return min(100 * self.done // self.total, 100) if self.total else None

    def advance(self, done: int, total: int | None = None) -> None:
        """Says how far it is; called by the work itself, after each step.

        Raises:
            Stopped: somebody has stopped it.
        """
        self.done, self.total = done, total if total is not None else self.total
        if self.is_to_stop.is_set():
            raise Stopped

    def stop(self) -> None:
        """Has it end after the step that it is at."""
        self.is_to_stop.set()


Work = Callable[[Errand], str]
"""Does it, calls :meth:`Errand.advance`, and says in a sentence what was done."""


class Errands:
    """All that was begun since Flower has started, the last ones of it."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._known: dict[str, Errand] = {}
        self._lock = threading.Lock()

    def begin(self, errand: Errand, work: Work) -> Errand:
        """Begins it in a thread.

        Raises:
            TooManyErrands: :data:`MOST_AT_ONCE` go on already.
        """
        with self._lock:
            if sum(not known.is_over for known in self._known.values()) >= MOST_AT_ONCE:
                raise TooManyErrands(f"{MOST_AT_ONCE} errands go on already; wait for one of them, or stop it")
            for old in [known.id for known in self._known.values() if known.is_over][: -REMEMBERED or None]:
                del self._known[old]
            self._known[errand.id] = errand
        self._executor.submit(_run, errand, work)
        return errand

    def find(self, id: str) -> Errand | None:
        """The errand with this id; None: there is none, or Flower was started anew since."""
        return self._known.get(id)


def _run(errand: Errand, work: Work) -> None:
    try:
        sentence = work(errand)
    except Stopped:
        errand.has_failed, sentence = True, f"stopped after {errand.done:,}"
    except PenstockError as error:
        errand.has_failed, sentence = True, f"{error} ({errand.done:,} were done before)"
    except Exception as error:
        logger.exception("%s, for %s", errand.title, errand.actor)
        errand.has_failed, sentence = True, f"{type(error).__name__}: {error} ({errand.done:,} were done before)"
    errand.sentence = sentence or "done"
