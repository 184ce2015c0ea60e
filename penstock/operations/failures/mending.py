"""Replaying and discarding failures: those that are named, or all open ones that a filter chooses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from penstock.app import PenstockApp
from penstock.broker.queues import UnknownTask
from penstock.ledger.session import reading
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
from penstock.operations.wording import counted

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


def chosen_by(app: PenstockApp, chosen: EntryFilter) -> list[Target]:
    """What the filter chooses and is open now, by the clock that stamped the entries: what comes back meanwhile is not
    taken again. Unknown tasks first, then dead letters, the oldest first.
    """
    url = app.settings.database_url
    with broker_of(app) as scripts:
        bring_to_ledger(scripts, url)
        seconds, micros = scripts.client.time()
        until = datetime.fromtimestamp(int(seconds) + int(micros) / 1_000_000, UTC)
        targets: list[Target] = list(unknown_entries(scripts, chosen))
        with reading(url) as connection:
            targets += [(entry, None) for entry in open_letters(connection, chosen, until)]
    return targets


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
    app: PenstockApp, targets: Sequence[Target], *, actor: str, rate: float | None, advance: Advance = lambda _: None
) -> Generator[Done, None, None]:
    """Runs failures again, one after the other, and yields what became of each. Each is noted in the audit.

    Args:
        rate: messages a second; None: no limit.
        advance: called with the number of messages that were dealt with since.

    Raises:
        BrokerUnavailable: Redis went away; what was yielded is done.
        LedgerUnavailable: SQL went away; the message says whether the last one was sent.
    """
    with _bench(app, actor, rate, advance) as bench:
        for entry, unknown in targets:
            yield replay_unknown(bench, entry, unknown) if unknown else replay_letter(bench, entry)


def discard(
    app: PenstockApp, targets: Sequence[Target], *, actor: str, rate: float | None, advance: Advance = lambda _: None
) -> Generator[Done, None, None]:
    """Gives failures up. The arguments and errors are those of :func:`replay`."""
    with _bench(app, actor, rate, advance) as bench:
        for entry, unknown in targets:
            yield discard_unknown(bench, entry, unknown) if unknown else discard_letter(bench, entry)


@contextmanager
def _bench(app: PenstockApp, actor: str, rate: float | None, advance: Advance) -> Iterator[Bench]:
    with broker_of(app) as scripts:
        yield Bench(scripts, app.settings.database_url, Pace(rate), actor, advance)
