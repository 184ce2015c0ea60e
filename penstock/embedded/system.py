"""A system's servers, made ready: embedded ones where none are named, and a ledger with its tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from penstock import checks
from penstock.config import Settings
from penstock.embedded import marked, signals
from penstock.embedded.lock import run_in
from penstock.embedded.server import EmbeddedServer
from penstock.ledger import schema, session

UNUSED = "redis://unused"


@dataclass(frozen=True)
class System:
    """Servers that are ready for workers."""

    settings: Settings
    environment: dict[str, str]
    """For every process of the system: where its servers are, and the mark by which it is ended with the system."""
    announcement: str
    """One line that says what is embedded; empty when nothing is."""
    trouble: Callable[[], str | None]
    """Why the system can no longer work; None while it can."""


@contextmanager
def prepared_system(environ: Mapping[str, str] | None = None) -> Iterator[System]:
    """Starts what the environment does not name, and brings the ledger's tables up to date.

    At the end every process that was started with the system's environment is ended, then the embedded server.

    Args:
        environ: instead of this process's own environment. An embedded Valkey stands in for an absent REDIS_URL,
            a SQLite file for an absent DATABASE_URL.

    Raises:
        SettingsError: the environment is broken; nothing was started.
        EmbeddedServerError: another run has the var folder, or the embedded server cannot run.
        BrokerUnavailable, LedgerUnavailable: a named server does not answer.
    """
    given = dict(os.environ if environ is None else environ)
    embeds_broker = not given.get("REDIS_URL", "").strip()
    embeds_ledger = not given.get("DATABASE_URL", "").strip()
    settings = Settings.load(given | {"REDIS_URL": UNUSED} if embeds_broker else given)
    with ExitStack() as stack:
        run = stack.enter_context(run_in(settings.var))
        server = stack.enter_context(EmbeddedServer(settings.var, run)) if embeds_broker else None
        if server:
            settings = replace(settings, redis_url=server.redis_url)
        checks.require_redis(settings)
        schema.upgrade(settings.database_url)
        session.close_all()
        stack.callback(_end_clients, run)
        yield System(
            settings,
            _environment(given, settings, run),
            _announcement(settings.var, server.address if server else "", embeds_ledger),
            server.trouble if server else lambda: None,
        )


def _end_clients(run: str) -> None:
    with signals.deferred():
        marked.end_clients(run)


def _environment(given: Mapping[str, str], settings: Settings, run: str) -> dict[str, str]:
    return {
        **given,
        "REDIS_URL": settings.redis_url,
        "DATABASE_URL": settings.database_url,
        "PENSTOCK_VAR": str(settings.var),
        marked.MARK: run,
        # The setproctitle package, where it is installed, leaves the environment legible then.
        "SPT_NOENV": "1",
    }


def _announcement(var: Path, broker: str, embeds_ledger: bool) -> str:
    folder = f"./{var.relative_to(Path.cwd())}" if var.is_relative_to(Path.cwd()) else str(var)
    embedded = {
        "REDIS_URL": f"embedded Valkey on {broker}" if broker else "",
        "DATABASE_URL": f"SQLite in {folder}" if embeds_ledger else "",
    }
    used = {variable: text for variable, text in embedded.items() if text}
    if not used:
        return ""
    them = "it" if len(used) == 1 else "them"
    return f"penstock: {' and '.join(used.values())} (set {' and '.join(used)} to replace {them})"
