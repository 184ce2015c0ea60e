"""The order of things in the transaction of one batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Connection

from penstock.job import State
from penstock.ledger.recording import postgresql, sqlite
from penstock.ledger.recording.attempts import Tokens, ended_tokens, history, insert_attempts
from penstock.ledger.recording.chords import count_parts
from penstock.ledger.recording.columns import Columns, changes, completed, fit, knows_better, new_row
from penstock.ledger.recording.fence import Found, Judgement, is_waiting_again, judge, target
from penstock.ledger.recording.outbox import delete_done, insert_follow_ups, still_there
from penstock.ledger.recording.tallies import Ends, add_tallies
from penstock.ledger.records import FollowUp, Part, Record, Step, Verdict


class Rows(Protocol):
    """The statements on `jobs`, in the words of one database."""

    def insert_new(self, connection: Connection, rows: Sequence[Columns]) -> set[str]:
        """Inserts the rows of jobs that have none, and tells their ids."""

    def lock(self, connection: Connection, ids: Sequence[str]) -> dict[str, Found]:
        """The rows with these ids, which nobody else changes until the transaction ends."""

    def change(self, connection: Connection, changed: Sequence[tuple[str, Columns]]) -> None:
        """Changes rows that are locked."""


DATABASES: Mapping[str, Rows] = {"postgresql": postgresql, "sqlite": sqlite}
WON = Judgement(Verdict.WON)


@dataclass
class Written:
    """What became of a batch."""

    verdicts: list[Verdict]
    """One for each record, in their order."""
    messages: list[FollowUp]
    """To be published now, after COMMIT."""


@dataclass
class _Consequences:
    """What exists only if its record's row does."""

    follow_ups: list[FollowUp] = field(default_factory=list)
    repeated: list[FollowUp] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    ends: Ends = field(default_factory=Counter)


def record(connection: Connection, records: Sequence[Record]) -> Written:
    """Writes a batch in the caller's transaction; nothing of it is to be believed before that is committed.

    Records of one job apply in their order. Jobs come first, because their rows are what everything else is judged by;
    the tallies last, because their rows are those that others wait for.
    """
    judgements: list[Judgement] = [WON] * len(records)
    consequences = _Consequences()
    for places in _rounds(records):
        for place, judgement, found in _apply(connection, records, places):
            judgements[place] = judgement
            _note(consequences, records[place], judgement, found)
    messages = _write(connection, consequences)
    return Written([judgement.verdict for judgement in judgements], messages)


def _rounds(records: Sequence[Record]) -> list[dict[str, int]]:
    """Places of records by their jobs' ids, cut so that no statement meets a row twice."""
    rounds: list[dict[str, int]] = []
    depth: Counter[str] = Counter()
    for place, each in enumerate(records):
        id = fit(each.delivery.id) or ""
        if depth[id] == len(rounds):
            rounds.append({})
        rounds[depth[id]][id] = place
        depth[id] += 1
    return rounds


def _apply(
    connection: Connection, records: Sequence[Record], places: dict[str, int]
) -> Iterator[tuple[int, Judgement, Found | None]]:
    """Inserts what is new, and judges the rest by the rows that are there.

    A row can go in between, by retention or `forget()`; then its job is new after all.
    """
    rows = DATABASES[connection.dialect.name]
    past: list[dict[str, Any]] = []
    left = places
    while left:
        inserted = rows.insert_new(connection, [new_row(records[place]) for place in left.values()])
        for id in inserted:
            past.extend(history(None, records[left[id]]))
            yield left[id], WON, None
        left = {id: place for id, place in left.items() if id not in inserted}
        there = rows.lock(connection, list(left)) if left else {}
        tokens = _tokens(connection, there, records, left)
        changed: list[tuple[str, Columns]] = []
        for id, found in there.items():
            each = records[left[id]]
            judgement = judge(found, each, tokens.get((id, each.delivery.token or ""), ()))
            yield left.pop(id), judgement, found
            if judgement == WON:
                changed.append((id, changes(found, each)))
                past.extend(history(found, each))
            elif judgement.verdict is Verdict.ENDED and knows_better(found, each.delivery) and found.queue is None:
                changed.append((id, completed(each.delivery)))
        rows.change(connection, changed)
    insert_attempts(connection, past)


def _tokens(
    connection: Connection, there: Mapping[str, Found], records: Sequence[Record], places: Mapping[str, int]
) -> Tokens:
    """How the attempts of tokens ended that are not those of the rows, where that matters."""
    asked = [
        id
        for id, found in there.items()
        if not found.state.is_final and records[places[id]].delivery.token not in (None, found.token)
    ]
    return ended_tokens(connection, asked)


def _note(consequences: _Consequences, record: Record, judgement: Judgement, found: Found | None) -> None:
    if judgement.verdict is Verdict.STALE:
        return
    consequences.parts.extend(record.parts)
    if record.outbox_key and (judgement.verdict is Verdict.ENDED or _is_done_with(record)):
        consequences.done.append(record.outbox_key)
    if judgement.is_repeated:
        consequences.repeated.extend(record.follow_ups)
    elif judgement.verdict is Verdict.WON:
        consequences.follow_ups.extend(record.follow_ups)
        if (state := target(record)).is_final:
            queue = record.delivery.queue or (found.queue if found else None)
            consequences.ends[fit(queue) or "", state] += 1


def _is_done_with(record: Record) -> bool:
    """Whether the message has done its part. One that is put back comes again as it is."""
    if record.step is not Step.END:
        return False
    return record.replaced or not is_waiting_again(record) or target(record) is State.SCHEDULED


def _write(connection: Connection, consequences: _Consequences) -> list[FollowUp]:
    delete_done(connection, consequences.done)
    unlocks = count_parts(connection, consequences.parts)
    messages = [*consequences.follow_ups, *unlocks]
    insert_follow_ups(connection, messages)
    messages += still_there(connection, consequences.repeated)
    add_tallies(connection, consequences.ends)
    return messages
