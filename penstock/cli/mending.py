"""Replaying and discarding failures, so that whoever is interrupted loses nothing.

A dead letter is marked first, in a transaction that is committed after its message is out. Killed before the message
is out, the transaction is rolled back and the letter is open as before; killed after it, the letter is open as well,
and the next replay sends the same message again: under the same number, which Redis knows for a minute and refuses,
and as the same job, whose second delivery finds the first one's row. In the other order, mark and commit before
sending, a kill in between would lose the message. Messages of unknown tasks move by a script, in one step.
"""

from __future__ import annotations

import sys
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, TextIO

import click
from kombu.utils.json import dumps
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import Connection

from penstock.app import PenstockApp
from penstock.broker import envelope, queues
from penstock.broker.queues import UnknownTask
from penstock.broker.scripts import SLICE, Scripts
from penstock.cli.command import actor
from penstock.cli.entries import UNKNOWN, Entry, EntryFilter, bring_to_ledger, find_entry, open_letters, unknown_entries
from penstock.cli.output import print_json
from penstock.cli.pace import Pace
from penstock.errors import LedgerUnavailable, PenstockError
from penstock.ledger import letters
from penstock.ledger.queries import add_audit
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import Kind, Resolution
from penstock.message import ENQUEUED_AT, REPLAY_OF
from penstock.operations.broker import broker_of
from penstock.operations.ending import cancel_messages
from penstock.operations.wording import counted, distance, one_line

Target = tuple[Entry, UnknownTask | None]


class Done(NamedTuple):
    """What became of one entry."""

    entry: str
    done: bool
    text: str
    """In words, for people."""
    job: str | None = None
    """The new job."""
    messages: int = 1


@dataclass
class Bench:
    """What every step needs."""

    scripts: Scripts
    database_url: str
    pace: Pace
    advance: Any
    """Called with the number of messages that were dealt with."""


def replay(
    app: PenstockApp,
    given: Sequence[str],
    chosen: EntryFilter,
    *,
    rate: float | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Replays failures; how many of them could not be.

    Args:
        given: ids; when empty, all that ``chosen`` matches.
        rate: messages a second; None: no limit.
        yes: do not ask about what a filter has chosen.

    Raises:
        EntryNotFound: one of the ids is none, and nothing was done.
    """
    verb = _Verb("replay", "replayed", _replay_letter, _replay_unknown)
    return _act(app, given, chosen, verb, Pace(rate), yes, as_json)


def discard(
    app: PenstockApp,
    given: Sequence[str],
    chosen: EntryFilter,
    *,
    rate: float | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Discards failures; the same arguments and answer as :func:`replay`."""
    verb = _Verb("discard", "discarded", _discard_letter, _discard_unknown)
    return _act(app, given, chosen, verb, Pace(rate), yes, as_json)


class _Verb(NamedTuple):
    name: str
    participle: str
    letter: Any
    unknown: Any


def _act(
    app: PenstockApp,
    given: Sequence[str],
    chosen: EntryFilter,
    verb: _Verb,
    pace: Pace,
    yes: bool,
    as_json: bool,
) -> int:
    url = app.settings.database_url
    results: list[Done] = []
    with broker_of(app) as scripts:
        bring_to_ledger(scripts, url)
        targets = _named(scripts, url, given) if given else _chosen(scripts, url, chosen)
        if not targets:
            click.echo("no open failures match", err=True)
        if not given and targets and not yes:
            click.confirm(f"{_counts(targets)} will be {verb.participle}. Go on?", abort=True, err=True)
        with _progress(verb.name, sum(entry.messages for entry, _ in targets), as_json) as advance:
            bench = Bench(scripts, url, pace, advance)
            for entry, unknown in targets:
                result = verb.unknown(bench, entry, unknown) if unknown else verb.letter(bench, entry)
                results.append(result)
                if not as_json:
                    # Not click's echo, which goes around the bar and would draw over it.
                    print(f"{one_line(entry.short_id)} {one_line(result.text)}", file=_stream(result.done), flush=True)
    if as_json:
        print_json([result._asdict() for result in results])
    return sum(not result.done for result in results)


def _stream(done: bool) -> TextIO:
    return sys.stdout if done else sys.stderr


def _named(scripts: Scripts, url: str, given: Sequence[str]) -> list[Target]:
    with reading(url) as connection:
        found = [find_entry(connection, scripts, id) for id in given]
    return list({entry.id: (entry, unknown) for entry, unknown in found}.values())


def _chosen(scripts: Scripts, url: str, chosen: EntryFilter) -> list[Target]:
    """What is open now, by the clock that stamped the entries: what comes back meanwhile is not taken again."""
    seconds, micros = scripts.client.time()
    until = datetime.fromtimestamp(int(seconds) + int(micros) / 1_000_000, UTC)
    targets: list[Target] = list(unknown_entries(scripts, chosen))
    with reading(url) as connection:
        targets += [(entry, None) for entry in open_letters(connection, chosen, until)]
    return targets


def _counts(targets: Sequence[Target]) -> str:
    kinds = Counter(entry.kind for entry, _ in targets if entry.kind != UNKNOWN)
    parts = [f"{count:,} {kind}" for kind, count in sorted(kinds.items())]
    if unknown := [entry for entry, _ in targets if entry.kind == UNKNOWN]:
        messages = counted(sum(entry.messages for entry in unknown), "message")
        parts.append(f"{messages} of {counted(len(unknown), 'unknown task')}")
    return ", ".join(parts)


@contextmanager
def _progress(verb: str, total: int, as_json: bool) -> Iterator[Any]:
    """A bar on stderr for many messages, when a person looks at it."""
    console = Console(stderr=True)
    if total < 2 or as_json or not console.is_terminal:
        yield lambda _count: None
        return
    columns = (TextColumn(verb), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # What is printed to a pipe must not be drawn into the bar's terminal.
    lines = Console().is_terminal
    with Progress(*columns, console=console, transient=True, redirect_stdout=lines, redirect_stderr=lines) as bar:
        task = bar.add_task(verb, total=total)
        yield lambda count: bar.advance(task, count)


# -- dead letters -----------------------------------------------------------------------------------------------


def _replay_letter(bench: Bench, entry: Entry) -> Done:
    new = new_job_of(entry.id) if entry.kind == Kind.BURIED else None
    bench.pace.wait()
    sent = False
    try:
        with writing(bench.database_url) as connection:
            if not letters.mark_resolved(connection, entry.id, Resolution.REPLAYED, actor=actor(), replay_job_id=new):
                return _too_late(connection, entry)
            raw = letters.payload_of(connection, entry.id)
            assert raw is not None
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
    finally:
        bench.advance(1)
    text = f"→ {new}" if new else f"is back on {entry.queue}, as it was"
    return Done(entry.id, True, text, new)


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
    headers[ENQUEUED_AT] = datetime.now(UTC).isoformat()
    if headers.get("root_id") in (None, old):
        headers["root_id"] = id
    properties.update(correlation_id=id, delivery_tag=str(uuid.uuid4()))
    return str(dumps(payload)).encode()


def _discard_letter(bench: Bench, entry: Entry) -> Done:
    with writing(bench.database_url) as connection:
        if not letters.mark_resolved(connection, entry.id, Resolution.DISCARDED, actor=actor()):
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


# -- unknown tasks ----------------------------------------------------------------------------------------------


def _replay_unknown(bench: Bench, entry: Entry, unknown: UnknownTask) -> Done:
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


def _discard_unknown(bench: Bench, entry: Entry, unknown: UnknownTask) -> Done:
    gone = cancelled = 0
    try:
        for raws in queues.discard_unknown(bench.scripts, unknown):
            gone += len(raws)
            cancelled += cancel_messages(bench.database_url, entry.queue, raws)
            bench.advance(len(raws))
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
            add_audit(connection, actor=actor(), action=action, details=details)
    except PenstockError as error:
        done = f"{action} of {counted(messages, 'message')} of {entry.task} is done"
        raise type(error)(f"{done}, but the audit could not be written: {error}") from error
