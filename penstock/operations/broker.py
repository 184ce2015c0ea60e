"""What operations on the broker share: Redis and the ledger of any app on Redis, names of queues, notes in the audit.

The app need not be one of ours: ``release`` has to work for an app that was adopted, and that may be again as before.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from celery import Celery

from penstock.app import PenstockApp
from penstock.broker import queues
from penstock.broker.connection import connect, shown, translated
from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts
from penstock.config import BROKER_SCHEMES
from penstock.engine.keeping import LEASE_SECONDS
from penstock.errors import LedgerOutdated, LedgerUnavailable, PenstockError
from penstock.ledger.backend import ledger_url
from penstock.ledger.queries import add_audit
from penstock.ledger.session import writing


def options_of(app: Celery) -> dict[str, Any]:
    """kombu's transport options."""
    configured = dict(app.conf.broker_transport_options or {})
    return {**app.settings.broker_options, **configured} if isinstance(app, PenstockApp) else configured


def lease_seconds(app: Celery) -> float:
    """How long a silent worker keeps its claims."""
    default = app.settings.lease_seconds if isinstance(app, PenstockApp) else LEASE_SECONDS
    return float(options_of(app).get("lease_seconds", default))


@contextmanager
def broker_of(app: Celery) -> Iterator[Scripts]:
    """The app's Redis. Nothing is sent twice by itself, because not all that is sent may be repeated.

    Raises:
        PenstockError: the app's broker is no Redis.
        BrokerUnavailable: Redis does not do what it is asked.
    """
    url = _address(app)
    options = options_of(app)
    client = connect(url, options, name="penstock-cli", retries=0)
    with translated(url), client:
        yield Scripts(client, Keys(options.get("global_keyprefix") or ""))


def _address(app: Celery) -> str:
    if isinstance(app, PenstockApp):
        return app.settings.redis_url
    url = str(app.conf.broker_read_url or app.conf.broker_url or "")
    if url.partition("://")[0] not in BROKER_SCHEMES:
        raise PenstockError(
            f"the broker of this app is {shown(url) or 'not set'}, and this command works on Redis; name an app "
            "whose broker_url begins with redis:// (celery -A …)"
        )
    return url


def note(app: Celery, actor: str, action: str, details: Any, done: str) -> None:
    """Notes in the audit what was done; an app without a ledger has no audit.

    Args:
        done: in words, for whoever has to be told that it could not be noted.

    Raises:
        LedgerUnavailable: it could not be noted; the message says that it was done.
    """
    url = ledger_url(app)
    if url is None:
        return
    try:
        with writing(url) as connection:
            add_audit(connection, actor=actor, action=action, details=details)
    except (LedgerUnavailable, LedgerOutdated) as error:
        raise type(error)(f"{done}, but the audit could not be written: {error}") from error


def served_queues(app: Celery) -> list[str]:
    """The queues that the app names: those of its profiles, or of its settings."""
    return list(app.amqp.queues)


def known_queues(app: Celery, scripts: Scripts) -> list[str]:
    """The queues that the app names, and those that Redis remembers, in order."""
    return sorted({*served_queues(app), *queues.names(scripts)})


def require_known(given: Sequence[str], known: Sequence[str]) -> None:
    """Returns when each name is a queue's.

    Raises:
        PenstockError: one is not; it says what may be meant.
    """
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise PenstockError(f"there is no queue {name}; {hint}")
