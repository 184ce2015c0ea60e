"""Celery's beat, as ``celery beat`` and ``worker -B`` start it: the plug-in ``beat_scheduler``.

Celery's service calls ``tick`` for ever; all the rest is ours, and any number of processes may do it.
"""

from __future__ import annotations

from typing import Any

import celery.beat

from penstock.errors import PenstockError
from penstock.ledger.backend import ledger_url
from penstock.scheduler.turning import Turning


class Scheduler(celery.beat.Scheduler):
    """Celery's interface to :class:`~penstock.scheduler.turning.Turning`."""

    max_interval = 5
    """Seconds that a turn may take; from twice as long on, Celery's remote control answers no more ping."""

    def __init__(self, app: Any, *args: Any, lazy: bool = False, **kwargs: Any) -> None:
        self._turning: Turning | None = None
        self._is_in_turn = False
        super().__init__(app, *args, lazy=lazy, **kwargs)

    def setup_schedule(self) -> None:
        """Begins. What is declared comes into the ledger with the first turn, or when the ledger is there.

        Raises:
            DeclarationError: a schedule makes no sense.
            PenstockError: the application has no ledger.
        """
        self.app.loader.import_default_modules()
        conf = self.app.conf
        url = ledger_url(self.app)
        if url is None:
            raise PenstockError(
                "schedules are rows of the ledger, and this app has none: give it one (penstock.adopt(app, ledger=…)), "
                "or set beat_scheduler to celery.beat:PersistentScheduler"
            )
        options = dict(conf.broker_transport_options or {})
        self._turning = Turning(self.app, url, conf.broker_write_url, options)
        self._turning.begin()

    def tick(self, **_: Any) -> float:
        """One turn, its sleep included; seconds until the next, which are none."""
        assert self._turning is not None
        self._is_in_turn = True
        self._turning.turn()
        self._is_in_turn = False
        return 0.0

    def should_sync(self) -> bool:
        """Never: all that there is to save is in the ledger."""
        return False

    def close(self) -> None:
        """Ends.

        Celery's handler of SIGTERM calls this in the middle of a turn, whose connection is then in use, raises
        SystemExit there, and calls it again when that has ended the turn.
        """
        if self._is_in_turn:
            self._is_in_turn = False
            return
        turning, self._turning = self._turning, None
        if turning is not None:
            turning.end()

    @property
    def schedule(self) -> dict[str, Any]:
        """Celery's view of entries, of which this scheduler has none: they are rows."""
        return {}

    @property
    def info(self) -> str:
        """A line of the banner."""
        return "    . schedules -> rows of the ledger"
