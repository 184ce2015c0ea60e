"""The app of a deployment, ready for what is done to its ledger."""

from __future__ import annotations

import os
from typing import Any, cast

from penstock.app import PenstockApp
from penstock.config import Settings
from penstock.errors import PenstockError
from penstock.ledger.backend import ledger_url


class NotOnTheBooks(PenstockError):
    """The results of this app are not in the ledger; give it one: ``penstock.adopt(app, ledger=…)``."""


def booked(app: Any) -> PenstockApp:
    """The app with its settings: one of ours, or any Celery app that has adopted the ledger.

    Raises:
        NotOnTheBooks: its results are not in the ledger.
    """
    if isinstance(app, PenstockApp):
        return app
    url = ledger_url(app)
    if url is None:
        raise NotOnTheBooks(
            "the results of this app are not in the ledger; give it one (penstock.adopt(app, ledger=…)), or name "
            "another app"
        )
    # What such an app says itself stands before the environment, which need not name any server.
    broker = str(app.conf.broker_read_url or app.conf.broker_url)
    app.settings = Settings.load({**os.environ, "REDIS_URL": broker, "DATABASE_URL": url})
    return cast("PenstockApp", app)
