"""What exists only if a record's row does."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from penstock.job import State
from penstock.ledger.recording.attempts import history, insert_attempts
from penstock.ledger.recording.chords import count_parts
from penstock.ledger.recording.failures import Failed, count_failures, failed_by
from penstock.ledger.recording.fence import Found, Judgement, is_waiting_again, target
from penstock.ledger.recording.outbox import delete_done, insert_follow_ups, still_there
from penstock.ledger.recording.plain import PlainSuccess
from penstock.ledger.recording.tallies import Ends, add_tallies, end_of, end_of_plain
from penstock.ledger.records import FollowUp, Part, Record, Step, Verdict


@dataclass
class Consequences:
    """Of the records of one batch, gathered so that each kind is written at once."""

    past: list[dict[str, Any]] = field(default_factory=list)
    follow_ups: list[FollowUp] = field(default_factory=list)
    repeated: list[FollowUp] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    ends: Ends = field(default_factory=Counter)
    successes: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """Plain ones, by their queues as the messages say, and whether they had been counted when they were accepted."""

    def note(self, record: Record, judgement: Judgement, found: Found | None) -> None:
        """Notes what follows from a record. Parts are counted also of jobs that had ended: whoever wrote that end may
        have known nothing of a chord.
        """
        if judgement.verdict is Verdict.STALE:
            return
        if record.parts:
            self.parts.extend(record.parts)
        if record.outbox_key and (judgement.verdict is Verdict.ENDED or _is_done_with(record)):
            self.done.append(record.outbox_key)
        if judgement.is_repeated:
            self.repeated.extend(record.follow_ups)
        elif judgement.verdict is Verdict.WON:
            if record.follow_ups:
                self.follow_ups.extend(record.follow_ups)
            self.past.extend(history(found, record))
        if (failed := failed_by(record, judgement)) is not None:
            self.failed.append(failed)
        if (end := end_of(record, judgement, found)) is not None:
            self.ends[end] += 1

    def note_plain(self, record: PlainSuccess) -> None:
        """Notes what follows from a plain success, which is that it is counted."""
        if (queue := record.queue) is not None:
            self.successes[queue if type(queue) is str else str(queue), record.is_accepted] += 1

    def write_past(self, connection: Connection) -> None:
        """Writes the attempts that have ended, before the next records of the same jobs are judged by them."""
        insert_attempts(connection, self.past)
        self.past = []

    def write(self, connection: Connection) -> list[FollowUp]:
        """Writes all else; the messages that are to be published after COMMIT."""
        delete_done(connection, self.done)
        unlocks = count_parts(connection, self.parts)
        messages = [*self.follow_ups, *unlocks]
        insert_follow_ups(connection, messages)
        messages += still_there(connection, self.repeated)
        count_failures(connection, self.failed)
        for (queue, is_accepted), count in self.successes.items():
            self.ends[end_of_plain(queue, is_accepted=is_accepted)] += count
        add_tallies(connection, self.ends)
        return messages


def _is_done_with(record: Record) -> bool:
    """Whether the message has done its part. One that is put back comes again as it is."""
    if record.step is not Step.END:
        return False
    return record.replaced or not is_waiting_again(record) or target(record) is State.SCHEDULED
