"""What a worker tells its keeper of itself first."""

from __future__ import annotations

import os
from typing import Any

from penstock.engine.attempts import breaker_of
from penstock.engine.keeping import CRASH_LIMIT, LEASE_SECONDS
from penstock.ledger.backend import LedgerBackend


def of(consumer: Any) -> dict[str, Any]:
    """Values of JSON, from a consumer's app."""
    conf, backend = consumer.app.conf, consumer.app.backend
    options = dict(conf.broker_transport_options or {})
    return {
        "broker_url": conf.broker_read_url or conf.broker_url,
        "transport_options": options,
        "prefix": options.get("global_keyprefix", ""),
        "database_url": backend.as_uri(include_password=True) if isinstance(backend, LedgerBackend) else None,
        "lease_seconds": float(options.get("lease_seconds", LEASE_SECONDS)),
        "crash_limit": int(options.get("crash_limit", CRASH_LIMIT)),
        "retention": str(options.get("retention", "")),
        "breakers": {name: breaker.rule for name, task in consumer.app.tasks.items() if (breaker := breaker_of(task))},
        "pid": os.getpid(),
        "workers": [],
        "queues": [],
    }
