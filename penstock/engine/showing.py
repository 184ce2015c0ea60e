"""What Celery's own process is shown of jobs that run in children: requests, as it would have made them itself.

Nothing of this lies on a job's way. A request is made of the message in a child's slot when somebody asks, or on a
timer a few times a second, for the few jobs that run at that moment.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any

from celery.app.control import TERM_SIGNAME
from celery.platforms import signals as _signals
from celery.worker import state
from kombu.message import Message
from kombu.utils.imports import symbol_by_name

from penstock.broker import envelope
from penstock.broker.claims import claimer_name
from penstock.broker.queues import places_held_by
from penstock.broker.scripts import Settlement
from penstock.engine.place import Place, Running
from penstock.engine.request import CELERYS, OURS, Request
from penstock.engine.slots import Standing
from penstock.ledger.backend import STARTED_AT

logger = logging.getLogger(__name__)
LIMITS = ("rate_limit", "time_limit", "soft_time_limit")


class Shown(Request):
    """A request for a job that runs in a child; what is done with it goes to the keeper."""

    claims = None
    place: tuple[str, str, str] = ("", "", "")
    """Claimer, queue and token."""

    @property
    def number(self) -> int:
        """Of the claim."""
        return int(self.place[2].partition(":")[0])

    def ask(self, pool: Any) -> None:
        """Has the body hear that its job is cancelled."""
        pool.ask(self.worker_pid, self.number)

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """Celery's, which ends the whole child; one that runs many jobs cancels this one."""
        if self.time_start and pool.cancel(self.worker_pid, self.number):
            self._announce_revoked("terminated", True, _signals.signum(signal or TERM_SIGNAME), False)
        else:
            super().terminate(pool, signal)


class Showing:
    """Of one worker."""

    def __init__(self, parent: Any) -> None:
        self._parent = parent
        self._shown: dict[tuple[int, int], Shown] = {}
        """By the child's fork and the number of its claim. Celery's own sets are weak."""
        self._reserved: dict[str, Shown] = {}
        self._limits = self._look_at_limits()
        self._born = time.monotonic()
        self._buried: set[int] = set()
        """Forks of dead children that were told of."""

    @property
    def age(self) -> float:
        """Seconds since the worker was made."""
        return time.monotonic() - self._born

    # -- what runs ----------------------------------------------------------------------------------------------

    def refresh(self, *, whole: bool = False, age: float = 0.0) -> None:
        """Has Celery's state show what runs now.

        Args:
            whole: and what is claimed and waits, for which Redis is asked.
            age: seconds for which a job among many has to run before it is shown; for whoever looks often.
        """
        slots = self._parent.pool.slots
        since = time.monotonic() - age
        running = [
            (slot.get("fork"), place)
            for slot in slots.live()
            for place in slot.shown
            if slot.is_single or place.time("started") <= since
        ]
        state.all_total_count[0] = max(slots.done + len(running), state.all_total_count[0])
        looks = (((fork, place.get("number")), place) for fork, place in running)
        current = {key: shown for key, place in looks if (shown := self._look(place, key)) is not None}
        for key, gone in self._shown.items():
            if key not in current:
                _forget(gone)
        self._shown = current
        for request in current.values():
            state.reserved_requests.add(request)
            state.active_requests.add(request)
            state.requests[request.id] = request
        if whole:
            self._refresh_reserved()

    def _look(self, place: Place, key: tuple[int, int]) -> Shown | None:
        known = self._shown.get(key)
        if known is None and (running := place.running()) is not None and running.number == key[1]:
            known = self._request(running)
        return known

    def _refresh_reserved(self) -> None:
        """Claimed, and not started: what Redis holds for our children and no slot shows."""
        for gone in self._reserved.values():
            _forget(gone)
        self._reserved = {}
        connection = self._parent.connection
        if connection is None:
            return
        scripts = connection.default_channel.scripts
        running = {request.place for request in self._shown.values()}
        with contextlib.suppress(Exception):
            for claimer, queue in self._claimers(scripts):
                for token, raw in scripts.client.hgetall(scripts.keys.inflight(claimer, queue)).items():
                    place = claimer, queue, token.decode()
                    if place not in running and (made := self._made(raw, place)) is not None:
                        self._reserved[made.id] = made
                        state.reserved_requests.add(made)
                        state.requests[made.id] = made

    def _claimers(self, scripts: Any) -> list[tuple[str, str]]:
        return [
            place for _, worker in self._parent.pool.slots.incarnations for place in places_held_by(scripts, worker)
        ]

    def _request(self, running: Running) -> Shown | None:
        names = dict(self._parent.pool.slots.incarnations)
        worker = names.get(running.incarnation, "") or next(reversed(names.values()), "")
        place = claimer_name(worker, str(running.fork)), running.queue, running.token
        raw = running.raw if running.raw is not None else self._fetch(place)
        made = self._made(raw, place, running.deliveries) if raw is not None else None
        if made is not None:
            made.time_start = running.started_at
            made.worker_pid = running.pid
            # Acknowledged before it began, unless it is only when it has ended.
            made.acknowledged = not made.task.acks_late
        return made

    def _fetch(self, place: tuple[str, str, str]) -> bytes | None:
        """A message that is too long for a slot."""
        claimer, queue, token = place
        with contextlib.suppress(Exception):
            scripts = self._parent.connection.default_channel.scripts
            raw: bytes | None = scripts.client.hget(scripts.keys.inflight(claimer, queue), token)
            return raw
        return None

    def _made(self, raw: bytes, place: tuple[str, str, str], deliveries: int = 0) -> Shown | None:
        parent = self._parent
        claimer, _, token = place
        try:
            payload = envelope.read(raw)
            properties = payload["properties"]
            properties["delivery_tag"] = token
            told = {"token": token, "claimer": claimer, "deliveries": deliveries, "redelivered": deliveries > 0}
            properties["delivery_info"].update(told)
            message = Message(
                body=envelope.text(payload),
                delivery_tag=token,
                content_type=payload.get("content-type"),
                content_encoding=payload.get("content-encoding"),
                headers=payload["headers"],
                properties=properties,
                delivery_info=properties["delivery_info"],
                accept=parent.app.conf.accept_content and set(parent.app.conf.accept_content) | {"application/json"},
            )
            task = parent.app.tasks[payload["headers"]["task"]]
            made = _kind(task)(
                message,
                on_ack=lambda *_: self._settle(place),
                on_reject=lambda _log, _errors, requeue: self._settle(place, "requeue" if requeue else "ack_counted"),
                app=parent.app,
                hostname=parent.hostname,
                eventer=parent.event_dispatcher,
                task=task,
                body=message.body,
                headers=message.headers,
            )
        except Exception:  # Whatever it is: its child finds out, and keeps the message.
            logger.debug("a job cannot be shown", exc_info=True)
            return None
        made.place = place
        return made

    def _settle(self, place: tuple[str, str, str], verb: str = "ack_counted") -> None:
        claimer, queue, token = place
        self._parent.keeper.settle(Settlement(claimer, queue, token, verb))

    # -- what has ended -----------------------------------------------------------------------------------------

    def warn(self, told: dict[str, Any]) -> None:
        """A job has met its soft limit."""
        worker = next(reversed(dict(self._parent.pool.slots.incarnations).values()), "")
        place = claimer_name(worker, str(told["fork"])), told["queue"], told["token"]
        if (request := self._ended(told, place)) is not None:
            request.on_timeout(soft=True, timeout=_plain_number(told["limit"]))

    def bury(self, told: dict[str, Any]) -> None:
        """A child was ended while it ran a job, because of a limit or because somebody has revoked that."""
        place = told["claimer"], told["queue"], told["token"]
        # The next keeper tells of it again for as long as the slot is kept.
        self._buried &= {slot.get("fork") for slot in self._parent.pool.slots.of(Standing.DEAD)}
        if told["fork"] in self._buried:
            return
        self._buried.add(told["fork"])
        request = self._ended(told, place)
        if request is None:
            self._settle(place)
            return
        self._shown.pop(_key_of(told), None)
        if told["reason"] == "HARD_LIMIT":
            request.on_timeout(soft=False, timeout=_plain_number(told["limit"]))
        elif not request._already_revoked:
            request._announce_revoked("terminated", True, "SIGTERM", False)
        _forget(request)

    def _ended(self, told: dict[str, Any], place: tuple[str, str, str]) -> Shown | None:
        """The request of a job of which somebody else has told."""
        request = self._shown.get(_key_of(told))
        if request is None:
            raw = told["raw"].encode("latin-1") if told["raw"] is not None else self._fetch(place)
            request = self._made(raw, place, told["deliveries"]) if raw is not None else None
        if request is not None:
            request.time_start, request.worker_pid = told["started_at"], told["pid"]
            request._context.update({STARTED_AT: request.began_at})
        return request

    def count(self, ran: dict[str, int]) -> None:
        """So many jobs of each task have started."""
        state.total_count.update(ran)

    # -- limits -------------------------------------------------------------------------------------------------

    def changed_limits(self) -> dict[str, dict[str, Any]]:
        """What remote control has changed of tasks since the last call."""
        before, self._limits = self._limits, self._look_at_limits()
        return {name: now for name, now in self._limits.items() if now != before.get(name)}

    def _look_at_limits(self) -> dict[str, dict[str, Any]]:
        return {
            name: {attribute: getattr(task, attribute, None) for attribute in LIMITS}
            for name, task in self._parent.app.tasks.items()
        }


def _key_of(told: dict[str, Any]) -> tuple[int, int]:
    return told["fork"], int(told["token"].partition(":")[0])


def _kind(task: Any) -> type[Shown]:
    """A request for jobs of the task, of the class that the task asks for."""
    if task.Request in (CELERYS, OURS):
        return Shown
    return type("Shown", (Shown, symbol_by_name(task.Request)), {})


def _forget(request: Shown) -> None:
    state.reserved_requests.discard(request)
    state.active_requests.discard(request)
    if state.requests.get(request.id) is request:
        del state.requests[request.id]


def _plain_number(value: float) -> float:
    return int(value) if value == int(value) else value
