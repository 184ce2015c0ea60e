"""Notices that Redis was restarted or replaced, for which its clients see no more than a lost connection."""

from __future__ import annotations

from penstock.broker.scripts import Scripts
from penstock.engine.keeping import Duty, Ward

TICK_SECONDS = 1.0


class Identity(Duty):
    """The first keeper that sees another server than the last one writes down when; all others read it."""

    def __init__(self, ward: Ward) -> None:
        super().__init__(ward)
        self._told = 0

    def perform(self) -> float:
        """Looks who answers."""
        changed_ms = last_change(self.ward.scripts)
        if changed_ms > self._told:
            self._told = changed_ms
            self.ward.tell(changed=changed_ms)
        return TICK_SECONDS


def last_change(scripts: Scripts) -> int:
    """When the server was restarted or replaced, in ms of its clock; 0 if it never was. Whoever sees it first notes it.

    A worker asks before it claims by a new connection: what came back must not run in the second in which its keeper
    has not looked yet.
    """
    client, keys = scripts.client, scripts.keys
    known = client.hgetall(keys.server)
    run_id = str(client.info("server")["run_id"])
    seconds, _ = client.time()
    changed_ms = int(known.get(b"changed", b"0"))
    if known.get(b"run_id", run_id.encode()).decode() != run_id:
        changed_ms = int(seconds) * 1000
    if known.get(b"run_id", b"").decode() != run_id:
        client.hset(keys.server, mapping={"run_id": run_id, "changed": changed_ms})
    return changed_ms
