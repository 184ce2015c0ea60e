"""Durable revocation: noted in Redis by whoever hears of it, learned by every worker, also by those that were down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery.app.control import TERM_SIGNAME
from celery.app.control import Control as CeleryControl
from celery.utils.functional import maybe_list
from celery.worker import control, state

from penstock.broker.keys import FIELD_SEPARATOR
from penstock.broker.scripts import Scripts


class Revocations:
    """What this worker knows to be revoked. Celery's own set forgets after three hours; a job may wait for longer."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def learn(self, ids: list[str], stamps: list[tuple[str, str]]) -> None:
        """Takes in revoked job ids and stamps."""
        self._ids.update(ids)
        for header, value in stamps:
            known = maybe_list(state.revoked_stamps.get(header)) or []
            if value not in known:
                state.revoked_stamps[header] = [*known, value]

    def knows(self, id: Any) -> bool:
        """Whether a job is revoked, as far as this worker knows."""
        return id in self._ids

    def remind(self, id: Any) -> None:
        """Makes Celery find out that a job which has just been claimed is revoked."""
        if id in self._ids:
            state.revoked.add(id)

    def terminate_running(self, signals: Mapping[str, str], pool: Any) -> None:
        """Ends the jobs that run here and were revoked to be terminated."""
        for id, signal in signals.items():
            running = state.requests.get(id)
            if running is not None and running in state.active_requests:
                state.revoked.add(id)
                running.terminate(pool, signal=signal)


class Control(CeleryControl):
    """Celery's remote control, whose revocations last."""

    def revoke(
        self,
        task_id: Any,
        destination: Any = None,
        terminate: bool = False,
        signal: str = TERM_SIGNAME,
        **kwargs: Any,
    ) -> Any:
        """Celery's; noted in Redis before anybody is told, so that workers that are down learn of it as well."""
        if destination is None:
            with self.app.connection_for_write() as connection:
                note_revoked(connection.default_channel, maybe_list(task_id), signal if terminate else None)
        return super().revoke(task_id, destination=destination, terminate=terminate, signal=signal, **kwargs)

    def revoke_by_stamped_headers(self, headers: Any, destination: Any = None, **kwargs: Any) -> Any:
        """Celery's; noted in Redis before anybody is told."""
        if destination is None:
            with self.app.connection_for_write() as connection:
                note_stamps(connection.default_channel, headers)
        return super().revoke_by_stamped_headers(headers, destination=destination, **kwargs)


def note_revoked(channel: Any, ids: Any, signal: str | None) -> None:
    """Notes revoked jobs in Redis; on any other broker there is nowhere to note them."""
    scripts: Scripts | None = getattr(channel, "scripts", None)
    if scripts is None or not ids:
        return
    if signal:
        scripts.client.hset(scripts.keys.revoked_signals, mapping=dict.fromkeys(ids, str(signal)))
    scripts.revoke(ids)


def note_stamps(channel: Any, headers: Mapping[str, Any]) -> None:
    """Notes revoked stamps in Redis."""
    scripts: Scripts | None = getattr(channel, "scripts", None)
    if scripts is not None:
        scripts.revoke_stamps(
            f"{header}{FIELD_SEPARATOR}{value}" for header, values in headers.items() for value in maybe_list(values)
        )


def persist_commands(consumer: Any) -> None:
    """Makes this worker note the revocations that it is told by stock clients, which tell nobody else."""
    commands = control.Panel.data
    for name in ("revoke", "terminate", "revoke_by_stamped_headers"):
        if not hasattr(commands[name], "persists"):
            commands[name] = _persisting(commands[name], name, consumer)


def _persisting(command: Any, name: str, consumer: Any) -> Any:
    def persisted(state: Any, *args: Any, **kwargs: Any) -> Any:
        channel = consumer.connection.default_channel if consumer.connection else None
        if name == "revoke_by_stamped_headers":
            note_stamps(channel, kwargs.get("headers", args[0] if args else {}))
        else:
            ids = maybe_list(kwargs.get("task_id", args[0] if args else None))
            ends = name == "terminate" or kwargs.get("terminate")
            note_revoked(channel, ids, kwargs.get("signal") or TERM_SIGNAME if ends else None)
        return command(state, *args, **kwargs)

    persisted.persists = True  # type: ignore[attr-defined]
    return persisted
