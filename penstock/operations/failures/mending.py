"""Replaying and discarding failures: those that are named, or all open ones that a filter chooses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from penstock.app import PenstockApp
from penstock.broker.queues import UnknownTask
from penstock.ledger import letters
from penstock.ledger.session import reading
from penstock.ledger.tables import Kind
from penstock.operations.broker import broker_of
from penstock.operations.failures.bench import Advance, Bench, Done
from penstock.operations.failures.entries import (
    UNKNOWN,
    Entry,
    EntryFilter,
    bring_to_ledger,
    find_entry,
    open_letters,
    unknown_entries,
)
from penstock.operations.failures.letters import discard_letter, replay_letter
from penstock.operations.failures.pace import Pace
from penstock.operations.failures.unknown import discard_unknown, replay_unknown
from penstock.operations.jobs.edits import NO_EDITS, Edits
from penstock.wording import counted

Target = tuple[Entry, UnknownTask | None]
"""An entry, and where its messages are if they are of an unknown task."""


def named(app: PenstockApp, given: Sequence[str]) -> list[Target]:
    """The failures with these ids, each once; open or not.

    Raises:
        EntryNotFound: one of the ids is none, or of several.
    """
    url = app.settings.database_url
    with broker_of(app) as scripts:
        bring_to_ledger(scripts, url)
        with reading(url) as connection:
            found = [find_entry(connection, scripts, id) for id in given]
    return list({entry.id: (entry, unknown) for entry, unknown in found}.values())


@dataclass(frozen=True)
class Fitting:
    """What a filter chooses and is open now, by the clock that stamped the entries: what comes back meanwhile is not
    taken again.
    """

    database_url: str
    chosen: EntryFilter
    until: datetime
    unknown: list[Target]
    counts: dict[Kind, int]
    """Of dead letters."""

    @property
    def messages(self) -> int:
        """How many there are."""
        return messages_of(self.unknown) + sum(self.counts.values())

    @property
    def text(self) -> str:
        """How many of each kind, in words."""
        parts = [f"{count:,} {kind}" for kind, count in sorted(self.counts.items()) if count]
        return ", ".join([*parts, *([in_kinds(self.unknown)] if self.unknown else [])])

    def targets(self) -> Iterator[Target]:
        """Unknown tasks first, then dead letters, the oldest first; read as they are wanted."""
        yield from self.unknown
        yield from ((entry, None) for entry in open_letters(self.database_url, self.chosen, self.until))


def fitting(app: PenstockApp, chosen: EntryFilter) -> Fitting:
    """What the filter chooses."""
    url = app.settings.database_url
    with broker_of(app) as scripts:
        bring_to_ledger(scripts, url)
        seconds, micros = scripts.client.time()
        until = datetime.fromtimestamp(int(seconds) + int(micros) / 1_000_000, UTC)
        unknown: list[Target] = list(unknown_entries(scripts, chosen))
    of_letters, counts = chosen.of_letters, dict[Kind, int]()
    if of_letters is not None:
        with reading(url) as connection:
            counts = letters.count_letters(connection, _open_until(of_letters, until))
    return Fitting(url, chosen, until, unknown, counts)


def _open_until(chosen: letters.LetterFilter, until: datetime) -> letters.LetterFilter:
    before = until + timedelta(microseconds=1)
    return replace(chosen, until=before if chosen.until is None else min(chosen.until, before))


def messages_of(targets: Sequence[Target]) -> int:
    """How many messages will be dealt with."""
    return sum(entry.messages for entry, _ in targets)


def in_kinds(targets: Sequence[Target]) -> str:
    """How many of each kind, in words."""
    kinds = Counter(entry.kind for entry, _ in targets if entry.kind != UNKNOWN)
    parts = [f"{count:,} {kind}" for kind, count in sorted(kinds.items())]
    if unknown := [target for target in targets if target[0].kind == UNKNOWN]:
        messages = counted(messages_of(unknown), "message")
        parts.append(f"{messages} of {counted(len(unknown), 'unknown task')}")
    return ", ".join(parts)


def replay(
    app: PenstockApp,
    targets: Iterable[Target],
    *,
    actor: str,
    pace: Pace,
    edits: Edits = NO_EDITS,
    limit: int | None = None,
    advance: Advance = lambda _: None,
) -> Generator[Done, None, None]:
    """Runs failures again, one after the other, and yields what became of each. Each is noted in the audit.

    Args:
        edits: of the arguments of buried jobs; other messages are left as they are then.
        limit: how many messages are dealt with at most.
        advance: called with the number of messages that were dealt with since.

    Raises:
        BrokerUnavailable: Redis went away; what was yielded is done.
        LedgerUnavailable: SQL went away; the message says whether the last one was sent.
        Stopped: the pace was told to stop; what was yielded is done.
    """
    with _bench(app, actor, pace, advance, edits) as bench:
        for entry, unknown in _limited(targets, limit):
            if edits and entry.kind != Kind.BURIED:
                yield Done(entry.id, False, "has no arguments that could be edited; replay it without", messages=0)
            else:
                yield replay_unknown(bench, entry, unknown) if unknown else replay_letter(bench, entry)


def discard(
    app: PenstockApp,
    targets: Iterable[Target],
    *,
    actor: str,
    pace: Pace,
    limit: int | None = None,
    advance: Advance = lambda _: None,
) -> Generator[Done, None, None]:
    """Gives failures up. The arguments and errors are those of :func:`replay`."""
    with _bench(app, actor, pace, advance, NO_EDITS) as bench:
        for entry, unknown in _limited(targets, limit):
            yield discard_unknown(bench, entry, unknown) if unknown else discard_letter(bench, entry)


def _limited(targets: Iterable[Target], limit: int | None) -> Iterator[Target]:
    """The first ones, of which the last may be a part of the messages of an unknown task."""
    left = limit
    for entry, unknown in targets:
        if left is not None and left <= 0:
            return
        if left is not None and unknown is not None and unknown.messages > left:
            unknown = replace(unknown, messages=left)
        yield entry, unknown
        left = None if left is None else left - (unknown.messages if unknown else 1)


@contextmanager
def _bench(app: PenstockApp, actor: str, pace: Pace, advance: Advance, edits: Edits) -> Iterator[Bench]:
    with broker_of(app) as scripts:
        yield Bench(app, scripts, app.settings.database_url, pace, actor, advance, edits)
