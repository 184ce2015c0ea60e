"""Replaying and discarding dead letters, so that whoever is interrupted loses nothing.

A dead letter is marked first, in a transaction that is committed after its message is out. Killed before the message
is out, the transaction is rolled back and the letter is open as before; killed after it, the letter is open as well,
and the next replay sends the same message again: under the same number, which Redis knows for a minute and refuses,
and as the same job, whose second delivery finds the first one's row. In the other order, mark and commit before
sending, a kill in between would lose the message.
"""

from __future__ import annotations

import base64
import uuid
from datetime import UTC, datetime

from celery.utils.saferepr import saferepr
from kombu.utils.json import dumps
from sqlalchemy import Connection

from penstock.app import PenstockApp
from penstock.broker import envelope
from penstock.broker.scripts import Scripts
from penstock.errors import LedgerUnavailable
from penstock.ledger import letters
from penstock.ledger.session import writing
from penstock.ledger.tables import Kind, Resolution
from penstock.message import ENQUEUED_AT, OF_RETRIES, REPLAY_OF
from penstock.operations.failures.bench import Bench, Done
from penstock.operations.failures.entries import Entry
from penstock.operations.jobs.arguments import names_of
from penstock.operations.jobs.edits import Edits, NotEditable
from penstock.operations.jobs.retry import misfit
from penstock.wording import distance


def replay_letter(bench: Bench, entry: Entry) -> Done:
    """A buried one becomes a new job; a quarantined one goes back as it is."""
    new = new_job_of(entry.id) if entry.kind == Kind.BURIED else None
    bench.pace.wait(queue=entry.queue)
    sent = False
    try:
        with writing(bench.database_url) as connection:
            if not letters.mark_resolved(
                connection, entry.id, Resolution.REPLAYED, actor=bench.actor, replay_job_id=new
            ):
                return _too_late(connection, entry)
            raw = letters.payload_of(connection, entry.id)
            assert raw is not None
            if bench.edits:
                raw = edited_message(bench.app, raw, bench.edits)
            _send(bench.scripts, entry, raw if new is None else as_new_job(raw, new), new)
            sent = True
    except LedgerUnavailable as error:
        if sent:
            raise LedgerUnavailable(
                f"{entry.short_id} is on its queue again, but the ledger could not note it: {error}; replay it once "
                "more when the ledger is back, it stays the same job"
            ) from error
        raise
    except envelope.Unreadable as error:
        return Done(entry.id, False, f"cannot be replayed: its message is {error}; discard it")
    except NotEditable as error:
        return Done(entry.id, False, f"cannot be replayed so: {error}")
    finally:
        bench.advance(1)
    text = f"→ {new}" if new else f"is back on {entry.queue}, as it was"
    return Done(entry.id, True, text, new)


def edited_message(app: PenstockApp, raw: bytes, edits: Edits) -> bytes:
    """The message with other arguments.

    Raises:
        Unreadable: it is no message.
        NotEditable: its arguments are not JSON, or its task does not take the new ones.
    """
    payload = envelope.read(raw)
    body, name = envelope.body(payload), payload["headers"].get("task")
    if not (isinstance(body, list) and len(body) == 3 and isinstance(body[0], list) and isinstance(body[1], dict)):
        raise NotEditable("its arguments are not JSON")
    args, kwargs = edits.applied(body[0], body[1], names_of(app, name) if isinstance(name, str) else [])
    if name not in app.tasks:
        raise NotEditable(f"this app has no task {name}; use the app that has it (celery -A …)")
    if why := misfit(app.tasks[name], args, kwargs):
        raise NotEditable(f"these arguments do not fit its task ({why})")
    text = dumps([args, kwargs, body[2]])
    is_base64 = payload["properties"].get("body_encoding") == "base64"
    payload["body"] = base64.b64encode(text.encode()).decode() if is_base64 else text
    shown = {"argsrepr": args, "kwargsrepr": kwargs}
    payload["headers"].update({header: saferepr(value) for header, value in shown.items()})
    return str(dumps(payload)).encode()


def _mark(connection: Connection, bench: Bench, entry: Entry, resolution: Resolution, new: str | None = None) -> bool:
    return letters.mark_resolved(connection, entry.id, resolution, actor=bench.actor, replay_job_id=new)


def new_job_of(entry: str) -> str:
    """The id of the job that carries an entry's on. The entry's own, so that two sendings are one job."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"penstock:replay:{entry}"))


def _send(scripts: Scripts, entry: Entry, raw: bytes, job: str | None) -> None:
    """To the end of its queue; the entry is the number of the call, so that a repeat of it does nothing."""
    scripts.publish(f"replay:{entry.id}", 1, entry.queue, entry.step, [(job or "", raw)])


def as_new_job(raw: bytes, id: str) -> bytes:
    """The message under a new id. Its body stays as it is; when it was due and until when it was wanted are over.

    Raises:
        Unreadable: it is no message.
    """
    payload = envelope.read(raw)
    headers, properties = payload["headers"], payload["properties"]
    old = headers.get("id")
    headers.update({"id": id, "retries": 0, "eta": None, "expires": None, REPLAY_OF: old})
    for name in OF_RETRIES:
        headers.pop(name, None)
    headers[ENQUEUED_AT] = datetime.now(UTC).isoformat()
    if headers.get("root_id") in (None, old):
        headers["root_id"] = id
    properties.update(correlation_id=id, delivery_tag=str(uuid.uuid4()))
    return str(dumps(payload)).encode()


def discard_letter(bench: Bench, entry: Entry) -> Done:
    """Marks it; its payload is kept."""
    bench.pace.wait()
    with writing(bench.database_url) as connection:
        if not _mark(connection, bench, entry, Resolution.DISCARDED):
            return _too_late(connection, entry)
    bench.advance(1)
    return Done(entry.id, True, "is discarded; its payload is kept")


def _too_late(connection: Connection, entry: Entry) -> Done:
    row = letters.find_letter(connection, entry.id)
    if row is None or row.resolution is None or row.resolved_at is None:
        return Done(entry.id, False, "is gone from the ledger")
    job = f" as {row.replay_job_id}" if row.replay_job_id else ""
    when = distance(row.resolved_at, datetime.now(UTC))
    return Done(entry.id, False, f"was {row.resolution}{job} by {row.resolved_by} already, {when}")
