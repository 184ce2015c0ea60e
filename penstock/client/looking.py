"""What ledger, outbox and Redis know of jobs: one question for all that are asked for at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from penstock.client.gathering import Gathering
from penstock.client.publishing import Publisher, publisher

if TYPE_CHECKING:
    from penstock.job import State
    from penstock.ledger.outbox import OutboxRow
    from penstock.ledger.rows import JobRow
    from penstock.progress import Progress

MOST_JOBS = 1000
"""Of one statement."""
THREADS = 2
"""That wait for answers at once, of each kind of question: one that takes long holds up half of the others."""


class Asked(NamedTuple):
    """A job that is asked for."""

    publisher: Publisher
    id: str
    queue: str | None
    """Where it was put, if that is known."""


class Known(NamedTuple):
    """What the ledger knows of a job."""

    row: JobRow | None
    progress: Progress | None
    """How far the last of its attempts is that has said so."""


class Waiting(NamedTuple):
    """What is known of a job that has no row."""

    outbox: OutboxRow | None
    state: State | None
    """Where it waits in Redis; not looked for when the outbox has its message."""


UNKNOWN = Known(None, None)


def find_rows(asked: Sequence[Asked]) -> list[Known]:
    """The rows of jobs in the ledger and how far they are, each in its place.

    Raises:
        LedgerUnavailable: the SQL database does not answer.
    """
    return [known for publisher, some in _by_publisher(asked) for known in _rows(publisher, some)]


def find_waiting(asked: Sequence[Asked]) -> list[Waiting]:
    """Where jobs without a row wait.

    Raises:
        LedgerUnavailable: the SQL database does not answer.
        BrokerUnavailable: Redis does not.
    """
    return [found for publisher, some in _by_publisher(asked) for found in _waiting(publisher, some)]


def find_ended(ids: Iterable[str]) -> list[tuple[JobRow, Progress | None]]:
    """The rows of those that have ended, in the order of their ends, and how far they are."""
    asked = [Asked(publisher(), id, None) for id in ids]
    slices = (asked[first : first + MOST_JOBS] for first in range(0, len(asked), MOST_JOBS))
    known = [each for some in slices for each in find_rows(some)]
    ended = [(row, progress) for row, progress in known if row is not None and row.state.is_final]
    return sorted(ended, key=lambda each: each[0].updated_at)


async def afind_row(id: str) -> Known:
    """:func:`find_rows` of one job, for coroutines."""
    return await _row_questions.put(Asked(publisher(), id, None)).answer


async def afind_waiting(id: str, queue: str | None) -> Waiting:
    """:func:`find_waiting` of one job, for coroutines."""
    return await _waiting_questions.put(Asked(publisher(), id, queue)).answer


def _rows(publisher: Publisher, asked: Sequence[Asked]) -> list[Known]:
    from penstock.ledger.reports import find_jobs_with_progress
    from penstock.ledger.session import reading

    with reading(publisher.settings.database_url) as connection:
        found = find_jobs_with_progress(connection, [each.id for each in asked])
    known = {row.id: Known(row, progress) for row, progress in found}
    return [known.get(each.id, UNKNOWN) for each in asked]


def _waiting(publisher: Publisher, asked: Sequence[Asked]) -> list[Waiting]:
    from penstock.ledger import outbox
    from penstock.ledger.session import reading
    from penstock.ledger.tables import is_plain

    # A single text that no server takes would cost all others their answer.
    known = [each for each in asked if is_plain(each.id)]
    with reading(publisher.settings.database_url) as connection:
        kept = outbox.find_waiting_among(connection, [each.id for each in known])
    rest = [(each.id, each.queue) for each in known if each.id not in kept]
    states = dict(zip(rest, publisher.waiting_states(rest), strict=True)) if rest else {}
    return [Waiting(kept.get(each.id), states.get((each.id, each.queue))) for each in asked]


def _by_publisher(asked: Sequence[Asked]) -> Iterable[tuple[Publisher, list[Asked]]]:
    """Nearly always there is one."""
    return ((some[0].publisher, some) for some in (list(group) for _, group in groupby(asked, _publisher_of)))


def _publisher_of(asked: Asked) -> int:
    return id(asked.publisher)


_row_questions: Gathering[Asked, Known]
_row_questions = Gathering("penstock-rows", find_rows, threads=THREADS, most=MOST_JOBS)
_waiting_questions = Gathering("penstock-waiting", find_waiting, threads=THREADS, most=MOST_JOBS)
