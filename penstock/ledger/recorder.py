"""Writing records: each batch in one transaction, and no batch lost because of one row in it."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from billiard.exceptions import SoftTimeLimitExceeded

from penstock.errors import LedgerOutdated, LedgerUnavailable
from penstock.job import Reason, State
from penstock.ledger.failure import describe_cause
from penstock.ledger.recording import OnWritten, Written, record
from penstock.ledger.recording.plain import PlainSuccess, as_record
from penstock.ledger.records import Encoded, Record, Step, Verdict
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.session import has_collided, is_about_data, writing

logger = logging.getLogger(__name__)
FIRST_PAUSE, LAST_PAUSE = 0.1, 5.0
COLLISION_SECONDS, COLLISION_PAUSE = 15.0, 0.02
"""How long a transaction that others stand in the way of is repeated, and the longest pause before that."""


class Recorder:
    """Writes records. Each call returns only when they are committed."""

    def __init__(self, url: str, on_committed: OnWritten | None = None) -> None:
        """Opens nothing.

        Args:
            on_committed: told of each transaction, in this thread.
        """
        self._url = url
        self._on_committed = on_committed

    def write(self, records: Sequence[Record | PlainSuccess]) -> Written:
        """Writes a batch, in one transaction as long as the database takes all of its values.

        A record with a value that no database takes is found by halving the batch, and its job recorded as failed, or
        without that value where the outcome does not depend on it. All others are written as they are.

        Returns:
            what became of each record, in order, and what is to be published now.

        Raises:
            LedgerUnavailable: the database does not answer. Maybe some of it is written and maybe nothing; writing all
                of it again does no harm.
            LedgerOutdated: the tables are missing or old; nothing is written.
        """
        try:
            return self._in_one_transaction(records)
        except Exception as error:
            if not is_about_data(error):
                raise
            if len(records) == 1:
                return self._without_what_is_refused(as_record(records[0]), error)
        middle = len(records) // 2
        first, second = self.write(records[:middle]), self.write(records[middle:])
        repeated = first.repeated | {middle + place for place in second.repeated}
        return Written(first.verdicts + second.verdicts, first.messages + second.messages, repeated)

    def _in_one_transaction(self, records: Sequence[Record | PlainSuccess]) -> Written:
        """Repeated while others stand in the way, with pauses of different lengths so that they do not meet again."""
        end = time.monotonic() + COLLISION_SECONDS
        while True:
            try:
                with writing(self._url, tries_again=True) as connection:
                    written = record(connection, records)
            except LedgerUnavailable as error:
                if not has_collided(error) or time.monotonic() > end:
                    raise
                time.sleep(random.uniform(0, COLLISION_PAUSE))  # noqa: S311
                continue
            if self._on_committed is not None:
                self._on_committed(records, written)
            return written

    def _without_what_is_refused(self, refused: Record, error: Exception) -> Written:
        """Writes as much of a record as the database takes."""
        for lesser in _lesser(refused, error):
            try:
                written = self._in_one_transaction([lesser])
            except Exception as another:
                if not is_about_data(another):
                    raise
                error = another
                continue
            logger.error("job %s is recorded without what the ledger refused: %s", refused.delivery.id, error)
            has_failed = refused.step is not Step.END and lesser.step is Step.END
            return replace(written, verdicts=[Verdict.ENDED]) if has_failed else written
        raise LedgerUnavailable(f"the ledger takes no row of job {refused.delivery.id} ({error})") from error

    def write_patiently(self, record: Record) -> Verdict:
        """Writes one record, and waits while SQL is away; for those who have no keeper that could wait for them."""
        pause = 0.0
        while True:
            try:
                time.sleep(pause)
                return self.write([record]).verdicts[0]

            except (LedgerUnavailable, LedgerOutdated) as error:
                logger.error("%s; this outcome is kept and written as soon as the ledger takes it", error)
                pause = min(max(pause * 2, FIRST_PAUSE), LAST_PAUSE)
            except SoftTimeLimitExceeded:
                # It is meant for the body, which has ended or has not begun, and must not cost the outcome. Writing
                # again does no harm: a claim's own row says so.
                continue


def _lesser(refused: Record, error: Exception) -> Iterator[Record]:
    """The record with less and less of what may be to blame: arguments and progress, the outcome, all but the id."""
    bare = replace(refused.delivery, args=Encoded('["…"]'), kwargs=None)
    yield replace(refused, delivery=bare, progress=None)
    failure = describe_cause(Reason.UNSERIALISABLE, f"the ledger refused the outcome: {_cause(error)}")
    outcome = Outcome(state=State.FAILED, reason=Reason.UNSERIALISABLE, failure=failure)
    failed = replace(refused, step=Step.END, delivery=bare, outcome=outcome, progress=None, replaced=False)
    yield replace(failed, follow_ups=())
    token = bare.token
    known = Delivery(id=bare.id, task=bare.task, queue=bare.queue, token=token)
    yield replace(failed, delivery=known, started_at=None, follow_ups=(), parts=())


def _cause(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", error)).split())
