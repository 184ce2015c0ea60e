"""Replaying and discarding the messages of unknown tasks. They move by a script, in one step."""

from __future__ import annotations

from penstock.broker import queues
from penstock.broker.queues import UnknownTask
from penstock.broker.scripts import SLICE
from penstock.errors import PenstockError
from penstock.ledger.queries import add_audit
from penstock.ledger.session import writing
from penstock.operations.ending import cancel_messages
from penstock.operations.failures.bench import Bench, Done
from penstock.operations.failures.entries import Entry
from penstock.wording import counted


def replay_unknown(bench: Bench, entry: Entry, unknown: UnknownTask) -> Done:
    """As many messages as there were: those that come back, as no worker knows the task yet, are not moved again."""
    moved = 0
    try:
        while moved < unknown.messages:
            portion = bench.pace.portion(min(SLICE, unknown.messages - moved))
            bench.pace.wait(portion)
            count, _ = bench.scripts.unblock(unknown.list_key, portion)
            moved += count
            bench.advance(count)
            if not count:
                break
    finally:
        _note_unknown(bench, "replay", entry, moved)
    text = f"{counted(moved, 'message')} back on {entry.queue}"
    if not moved:
        return Done(entry.id, False, "has no messages any more: somebody was first", messages=0)
    return Done(entry.id, True, text, messages=moved)


def discard_unknown(bench: Bench, entry: Entry, unknown: UnknownTask) -> Done:
    """Deletes its messages and records their jobs as cancelled."""
    gone = cancelled = 0
    try:
        for raws in queues.discard_unknown(bench.scripts, unknown):
            gone += len(raws)
            cancelled += cancel_messages(bench.database_url, entry.queue, raws)
            bench.advance(len(raws))
            bench.pace.wait(len(raws))
    finally:
        _note_unknown(bench, "discard", entry, gone)
    if not gone:
        return Done(entry.id, False, "has no messages any more: somebody was first", messages=0)
    text = f"{counted(gone, 'message')} deleted; {counted(cancelled, 'job')} recorded as cancelled"
    return Done(entry.id, True, text, messages=gone)


def _note_unknown(bench: Bench, action: str, entry: Entry, messages: int) -> None:
    if not messages:
        return
    details = {"unknown task": entry.task, "queue": entry.queue, "messages": messages}
    try:
        with writing(bench.database_url) as connection:
            add_audit(connection, actor=bench.actor, action=action, details=details)
    except PenstockError as error:
        done = f"{action} of {counted(messages, 'message')} of {entry.task} is done"
        raise type(error)(f"{done}, but the audit could not be written: {error}") from error
