"""The order of things in the transaction of one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection

from penstock.ledger.recording import postgresql, sqlite
from penstock.ledger.recording.attempts import Tokens, ended_tokens
from penstock.ledger.recording.columns import Changes, Row, changes, completed, fit, knows_better, new_row
from penstock.ledger.recording.consequences import Consequences
from penstock.ledger.recording.fence import Found, Judgement, is_likely_to_have_a_row, judge
from penstock.ledger.recording.plain import PlainSuccess, as_record
from penstock.ledger.records import FollowUp, Record, Step, Verdict

WON = Judgement(Verdict.WON)
Round = dict[str, int]
"""Places of records in their batch, by their jobs' ids, each of which it has once."""


class Rows(Protocol):
    """The statements on `jobs`, in the words of one database."""

    def insert_new(self, connection: Connection, rows: Sequence[Row | PlainSuccess]) -> set[str]:
        """Inserts the rows of jobs that have none, and tells their ids."""

    def lock(self, connection: Connection, ids: Sequence[str]) -> dict[str, Found]:
        """The rows with these ids, which nobody else changes until the transaction ends."""

    def change(self, connection: Connection, changed: Sequence[tuple[str, Changes]]) -> None:
        """Changes rows that are locked."""


DATABASES: Mapping[str, Rows] = {"postgresql": postgresql, "sqlite": sqlite}


@dataclass
class Written:
    """What became of a batch."""

    verdicts: list[Verdict]
    """One for each record, in their order."""
    messages: list[FollowUp]
    """To be published now, after COMMIT."""
    repeated: set[int] = field(default_factory=set)
    """Places of records that have won, and had been written before: what they say was counted then."""


OnWritten = Callable[[Sequence[Record | PlainSuccess], Written], None]
"""Told what became of a batch."""


def record(connection: Connection, records: Sequence[Record | PlainSuccess]) -> Written:
    """Writes a batch in the caller's transaction; nothing of it is to be believed before that is committed.

    Records of one job apply in their order. Jobs come first, because their rows are what everything else is judged by;
    the tallies last, because their rows are those that others wait for.
    """
    batch = _Batch(connection, records)
    for round in _rounds(records):
        batch.apply(round)
    return Written(batch.verdicts, batch.consequences.write(connection), batch.repeated)


def _is_likely_to_have_a_row(record: Record | PlainSuccess) -> bool:
    return record.took_long if isinstance(record, PlainSuccess) else is_likely_to_have_a_row(record)


def _new(record: Record | PlainSuccess) -> Row | PlainSuccess:
    return record if isinstance(record, PlainSuccess) else new_row(record)


def _rounds(records: Sequence[Record | PlainSuccess]) -> list[Round]:
    """Cut so that no statement meets a row twice."""
    rounds: list[Round] = [{}]
    depth: dict[str, int] = {}
    for place, each in enumerate(records):
        id = fit(each.id if isinstance(each, PlainSuccess) else each.delivery.id)
        at = depth[id] = depth.get(id, -1) + 1
        if at == len(rounds):
            rounds.append({})
        rounds[at][id] = place
    return rounds


class _Batch:
    """Records on their way into the ledger, and what has become of them."""

    def __init__(self, connection: Connection, records: Sequence[Record | PlainSuccess]) -> None:
        self.verdicts = [Verdict.WON] * len(records)
        self.repeated: set[int] = set()
        self.consequences = Consequences()
        self._connection = connection
        self._records = records
        self._rows = DATABASES[connection.dialect.name]

    def apply(self, round: Round) -> None:
        """Inserts what is new, and judges the rest by the rows that are there.

        What is likely to have a row is looked for first, and all else inserted first, so that most records cost one
        statement. Retention or `forget()` can take a row away in between; then its job is new after all.
        """
        likely = {id: place for id, place in round.items() if _is_likely_to_have_a_row(self._records[place])}
        missing = self._without_backs(self._change(likely))
        round = {id: place for id, place in round.items() if id not in likely} | missing
        while round:
            round = self._change(self._insert(round))
        self.consequences.write_past(self._connection)

    def _without_backs(self, round: Round) -> Round:
        """Leaves out those that take a start back: where that is no more, nothing is to be taken back."""
        for id, place in list(round.items()):
            record = self._records[place]
            if isinstance(record, Record) and record.step is Step.BACK:
                self.verdicts[place] = Verdict.STALE
                del round[id]
        return round

    def _insert(self, round: Round) -> Round:
        """Inserts the rows of jobs that have none; those that are left."""
        new = self._rows.insert_new(self._connection, [_new(self._records[place]) for place in round.values()])
        left: Round = {}
        for id, place in round.items():
            if id in new:
                self._note_new(self._records[place])
            else:
                left[id] = place
        return left

    def _note_new(self, record: Record | PlainSuccess) -> None:
        if isinstance(record, PlainSuccess):
            self.consequences.note_plain(record)
        else:
            self.consequences.note(record, WON, None)

    def _change(self, round: Round) -> Round:
        """Changes the rows that may be changed; the records that have no row."""
        if not round:
            return round
        there = self._rows.lock(self._connection, list(round))
        tokens = self._tokens(there, round)
        changed = []
        for id, place in round.items():
            if (found := there.get(id)) is None:
                continue
            record = as_record(self._records[place])
            judgement = judge(found, record, tokens.get((id, record.delivery.token or ""), ()))
            self.verdicts[place] = judgement.verdict
            if judgement.is_repeated:
                self.repeated.add(place)
            self.consequences.note(record, judgement, found)
            if judgement == WON:
                changed.append((id, changes(found, record)))
            elif found.queue is None and knows_better(found, record.delivery):
                changed.append((id, completed(record.delivery)))
        self._rows.change(self._connection, changed)
        return {id: place for id, place in round.items() if id not in there}

    def _tokens(self, there: Mapping[str, Found], round: Round) -> Tokens:
        """How the attempts ended whose tokens are not those of the rows."""
        asked = [
            id
            for id, found in there.items()
            if not found.state.is_final and self._records[round[id]].delivery.token not in (None, found.token)
        ]
        return ended_tokens(self._connection, asked)
