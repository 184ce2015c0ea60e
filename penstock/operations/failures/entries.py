"""Finding failures: rows of the ledger and lists of unknown tasks, under one name.

Dead entries that no keeper has brought to the ledger yet, because none runs, are brought there first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from penstock.app import PenstockApp
from penstock.broker import queues
from penstock.broker.queues import UnknownTask
from penstock.broker.scripts import Scripts
from penstock.engine.keeping.burial import bury_slice
from penstock.errors import PenstockError
from penstock.ledger import letters
from penstock.ledger.rows import LetterRow
from penstock.ledger.session import reading
from penstock.ledger.tables import Kind, Resolution
from penstock.operations.broker import broker_of
from penstock.operations.payload import Payload, decode

UNKNOWN, UNKNOWN_REASON = "unknown", "no worker that claimed them knew the task"
PAGE = 500
SHOWN_MESSAGES = 5
CANDIDATES = 5


class EntryNotFound(PenstockError):
    """There is no such failure, or there are several; `failures list --all` has them all."""


@dataclass(frozen=True)
class Entry:
    """One failure."""

    id: str
    kind: str
    """buried, quarantined or unknown."""
    task: str | None
    queue: str
    step: int
    reason: str
    at: datetime | None
    """When it happened; of an unknown task, when its oldest message was enqueued, if that is known."""
    messages: int = 1
    deliveries: int | None = None
    job_id: str | None = None
    resolution: Resolution | None = None
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    replay_job_id: str | None = None
    size: int | None = None
    """Bytes of the message."""

    @property
    def short_id(self) -> str:
        """Without the worker's name, which the rest tells apart."""
        return self.id if self.kind == UNKNOWN else self.id.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class EntryFilter:
    """Which failures; every condition that is given must hold."""

    kind: str | None = None
    task: str | None = None
    queue: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Before this time."""
    is_open: bool | None = True
    """Whether nobody has replayed or discarded it yet; None: either."""

    @property
    def of_letters(self) -> letters.LetterFilter | None:
        """The same for the ledger's part; None when that has nothing of the kind."""
        if self.kind == UNKNOWN:
            return None
        return letters.LetterFilter(
            kind=Kind(self.kind) if self.kind else None,
            task=self.task,
            queue=self.queue,
            reason=self.reason,
            since=self.since,
            until=self.until,
            is_open=self.is_open,
        )


@dataclass(frozen=True)
class Found:
    """A list of failures and how many there are in all, by kind."""

    entries: list[Entry]
    counts: dict[str, int]


@dataclass(frozen=True)
class Opened:
    """A failure with its messages, or the first of them."""

    entry: Entry
    messages: list[Payload] = field(default_factory=list)


def list_entries(app: PenstockApp, chosen: EntryFilter, limit: int, after: str | None = None) -> Found:
    """Unknown tasks first, as they are what waits, then dead letters, the newest first.

    Args:
        after: the last dead letter of the page before.

    Raises:
        EntryNotFound: ``after`` is none.
    """
    with broker_of(app) as scripts:
        bring_to_ledger(scripts, app.settings.database_url)
        unknown = [entry for entry, _ in unknown_entries(scripts, chosen)]
    counts = {UNKNOWN: len(unknown)} if unknown else {}
    found = [] if after else unknown[:limit]
    of_letters = chosen.of_letters
    if of_letters is not None:
        with reading(app.settings.database_url) as connection:
            counts |= {kind.value: count for kind, count in letters.count_letters(connection, of_letters).items()}
            if left := limit - len(found):
                rows = letters.list_letters(connection, of_letters, left, _place(connection, after))
                found += [_entry(row) for row in rows]
    return Found(found, counts)


def _place(connection: Connection, after: str | None) -> LetterRow | None:
    row = letters.find_letter(connection, after) if after else None
    if after and row is None:
        raise EntryNotFound(f"there is no failure {after} any more; begin with the first page")
    return row


def bring_to_ledger(scripts: Scripts, database_url: str) -> None:
    """Does what keepers do each half second, for when none runs."""
    while bury_slice(scripts, database_url):
        pass


def unknown_entries(scripts: Scripts, chosen: EntryFilter) -> list[tuple[Entry, UnknownTask]]:
    """The lists of unknown tasks that the filter chooses."""
    if chosen.kind not in (None, UNKNOWN) or chosen.is_open is False:
        return []
    fitting = [
        unknown
        for unknown in queues.unknown_tasks(scripts)
        if chosen.task in (None, unknown.task) and chosen.queue in (None, unknown.queue)
    ]
    return [
        (_unknown_entry(unknown, oldest), unknown)
        for unknown, (oldest, newest) in zip(fitting, queues.ends_of(scripts, fitting), strict=True)
        if (chosen.reason is None or chosen.reason in UNKNOWN_REASON)
        # A message that does not say may be of this moment.
        and (chosen.since is None or newest is None or _time(newest) >= chosen.since)
        and (chosen.until is None or oldest is None or _time(oldest) < chosen.until)
    ]


def _unknown_entry(unknown: UnknownTask, oldest_ms: int | None) -> Entry:
    return Entry(
        id=f"{UNKNOWN}:{unknown.queue}:{unknown.step}:{unknown.task}",
        kind=UNKNOWN,
        task=unknown.task,
        queue=unknown.queue,
        step=unknown.step,
        reason=UNKNOWN_REASON,
        at=_time(oldest_ms) if oldest_ms is not None else None,
        messages=unknown.messages,
    )


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _entry(row: LetterRow) -> Entry:
    return Entry(
        id=row.id,
        kind=row.kind.value,
        task=row.task,
        queue=row.queue,
        step=row.step,
        reason=row.reason,
        at=row.at,
        deliveries=row.deliveries,
        job_id=row.job_id,
        resolution=row.resolution,
        resolved_at=row.resolved_at,
        resolved_by=row.resolved_by,
        replay_job_id=row.replay_job_id,
        size=row.size,
    )


def find_entry(connection: Connection, scripts: Scripts, given: str) -> tuple[Entry, UnknownTask | None]:
    """The failure with this id, of this job, or whose id ends like this.

    Raises:
        EntryNotFound: there is none, or there are several.
    """
    for entry, unknown in unknown_entries(scripts, EntryFilter(kind=UNKNOWN)) if given.startswith(UNKNOWN) else ():
        if entry.id == given:
            return entry, unknown
    row = letters.find_letter(connection, given)
    if row is not None:
        return _entry(row), None
    rows = letters.list_letters(connection, letters.LetterFilter(job_id=given), CANDIDATES)
    rows = rows or letters.list_letters(connection, letters.LetterFilter(id_end=f"/{given}"), CANDIDATES)
    if len(rows) == 1:
        return _entry(rows[0]), None
    if not rows:
        raise EntryNotFound(f"there is no failure {given}; `failures list --all` shows those that there are")
    listed = "\n".join(f"  {row.id}" for row in rows[:CANDIDATES])
    raise EntryNotFound(f"{given} may be several failures; name one of them in full:\n{listed}")


def open_letters(database_url: str, chosen: EntryFilter, until: datetime) -> Iterator[Entry]:
    """Dead letters that the filter chooses, the oldest first; none that came later than ``until``, so that what comes
    back at once is not taken again. Read page by page, each when it is wanted: there may be a million.
    """
    of_letters = chosen.of_letters
    if of_letters is not None:
        for row in _all_letters(database_url, of_letters):
            if row.at > until:
                return
            yield _entry(row)


def _all_letters(database_url: str, chosen: letters.LetterFilter) -> Iterator[LetterRow]:
    last: LetterRow | None = None
    while True:
        with reading(database_url) as connection:
            page: Sequence[LetterRow] = letters.list_letters(connection, chosen, PAGE, last, oldest_first=True)
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1]


def open_entry(app: PenstockApp, given: str) -> Opened:
    """A failure with its message; of an unknown task, the first of its messages."""
    url = app.settings.database_url
    with broker_of(app) as scripts:
        bring_to_ledger(scripts, url)
        with reading(url) as connection:
            entry, unknown = find_entry(connection, scripts, given)
            if unknown is not None:
                peeked = queues.peek_unknown(scripts, unknown, SHOWN_MESSAGES)
                return Opened(entry, [decode(message.raw) for message in peeked])
            raw = letters.payload_of(connection, entry.id)
    messages = [decode(raw)] if raw is not None else []
    return Opened(replace(entry, size=len(raw) if raw is not None else None), messages)
