"""Replaying and discarding failed jobs, those whose messages are no dead letters."""

from __future__ import annotations

import re
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from penstock.app import PenstockApp
from penstock.checks import require_redis
from penstock.job import Reason, State
from penstock.ledger import failed, queries
from penstock.ledger.failed import FailedFilter, Standing, Stretch
from penstock.ledger.rows import JobRow
from penstock.ledger.session import reading, writing
from penstock.operations.broker import broker_of
from penstock.operations.failures.bench import Advance, Done
from penstock.operations.failures.entries import bring_to_ledger
from penstock.operations.failures.groups import FINGERPRINT, find_group
from penstock.operations.failures.pace import Pace
from penstock.operations.jobs.arguments import names_of
from penstock.operations.jobs.edits import NO_EDITS, Edits, NotEditable
from penstock.operations.jobs.retry import has_arguments, problem_of, submit
from penstock.operations.wording import error_in_short
from penstock.wording import counted

PAGE = 500
COUNTED_TOGETHER = 2_000
COUNTED = 10_000
"""Failed jobs beyond which nobody counts on."""


@dataclass(frozen=True)
class Plan:
    """What would be replayed or discarded of the failed jobs of a filter."""

    chosen: FailedFilter
    count: int
    """Failed jobs that nobody has dealt with."""
    is_more: bool
    """Whether there may be more: nobody counted on."""

    @property
    def text(self) -> str:
        """In words."""
        return f"{self.count:,}+ failed jobs" if self.is_more else counted(self.count, "failed job")


def plan(app: PenstockApp, given: str, looked_at: int | None = None) -> Plan | None:
    """What can be done about the error with this fingerprint; None if it is that of none.

    Args:
        looked_at: how many of its failed jobs are looked at, about; None: until :data:`COUNTED` open ones are found.
    """
    if not re.fullmatch(FINGERPRINT, given):
        return None
    found = plan_of(app, FailedFilter(error=given), looked_at)
    with reading(app.settings.database_url) as connection:
        is_known = found.count > 0 or find_group(connection, given, None) is not None
    return found if is_known else None


def plan_of(app: PenstockApp, chosen: FailedFilter, looked_at: int | None = None) -> Plan:
    """What can be done about the failed jobs of a filter. The arguments are those of :func:`plan`."""
    url = app.settings.database_url
    with broker_of(app) as scripts:
        # A job whose message is a dead letter that the ledger lacks would look open.
        bring_to_ledger(scripts, url)
    return Plan(chosen, *_count(url, chosen, looked_at))


def _count(url: str, chosen: FailedFilter, looked_at: int | None) -> tuple[int, bool]:
    """How many are open, and whether there may be more."""
    count = looked = 0
    for stretch in _stretches(url, chosen, COUNTED_TOGETHER):
        count, looked = count + len(stretch.ids), looked + COUNTED_TOGETHER
        is_enough = count > COUNTED or (looked_at is not None and looked >= looked_at)
        if is_enough and (count > COUNTED or stretch.after):
            return min(count, COUNTED), True
    return count, False


def replay(
    app: PenstockApp,
    chosen: FailedFilter,
    *,
    actor: str,
    pace: Pace,
    edits: Edits = NO_EDITS,
    limit: int | None = None,
    advance: Advance = lambda _: None,
) -> Generator[Done, None, None]:
    """Submits the failed jobs of a filter anew, the oldest first, and yields what became of each.

    Each is noted in its audit, as a retry. What fails meanwhile is not taken, and what was retried before is not
    either, so this may be repeated. Killed between sending a job and noting it, it sends that one again the next time:
    under the same id, which is the same job.

    Args:
        edits: of their arguments; those whose task does not take them then are left as they are.
        limit: how many are dealt with at most.
        advance: called with the number of jobs that were dealt with since.

    Raises:
        BrokerUnavailable: Redis did not take a job; what was yielded is done.
        LedgerUnavailable: SQL went away; the message says whether the last one was sent.
        Stopped: the pace was told to stop; what was yielded is done.
    """
    app.loader.import_default_modules()
    require_redis(app.settings)
    for row in islice(_open_jobs(app.settings.database_url, chosen), limit):
        pace.wait(queue=row.queue)
        result = _replay(app, row, actor, edits)
        advance(1)
        yield result


def _replay(app: PenstockApp, row: JobRow, actor: str, edits: Edits) -> Done:
    try:
        row, details = _edited(app, row, edits)
    except NotEditable as error:
        return Done(row.id, False, f"cannot be replayed so: {error}")
    if problem := problem_of(app, row, is_edited=bool(details)):
        return Done(row.id, False, problem.removeprefix(row.id).lstrip(": "))
    new = retried_as(row.id)
    if submit(app, row, new, actor=actor, details=details, is_wanted=lambda it: bool(failed.lock_open(it, [row.id]))):
        return Done(row.id, True, f"→ {new}", new)
    return Done(row.id, False, "was retried or discarded already: somebody was first", messages=0)


def _edited(app: PenstockApp, row: JobRow, edits: Edits) -> tuple[JobRow, dict[str, Any]]:
    """The job with other arguments, and what the audit is told of them; nothing, if its own are kept."""
    if not (edits and has_arguments(row)):
        return row, {}
    args, kwargs = edits.applied(row.args, row.kwargs, names_of(app, row.task))
    return replace(row, args=args, kwargs=kwargs), {"edited": edits.words}


def sample(app: PenstockApp, chosen: FailedFilter, edits: Edits, limit: int) -> Generator[Done, None, None]:
    """What would become of the first ones; sends nothing."""
    app.loader.import_default_modules()
    for row in islice(_open_jobs(app.settings.database_url, chosen), limit):
        try:
            row, details = _edited(app, row, edits)
            problem = problem_of(app, row, is_edited=bool(details))
        except NotEditable as error:
            problem = f"cannot be replayed so: {error}"
        yield Done(row.id, problem is None, problem or f"{row.task} on {row.queue}: {error_in_short(row)}")


def retried_as(id: str) -> str:
    """The id of the job that carries a failed one's on. Of that one alone, so that two sendings are one job."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"penstock:retry:{id}"))


def discard(
    app: PenstockApp,
    chosen: FailedFilter,
    *,
    pace: Pace,
    limit: int | None = None,
    advance: Advance = lambda _: None,
) -> Generator[Done, None, None]:
    """Gives the failed jobs of a filter up: their rows stay and say so. Yields one answer for
    some hundred of them.

    The arguments and errors are those of :func:`replay`.
    """
    url, left, gone = app.settings.database_url, limit, 0
    for stretch in _open_stretches(url, chosen, pace.portion(PAGE)):
        ids = stretch.ids[:left]
        pace.wait(len(ids))
        with writing(url) as connection:
            discarded = failed.discard(connection, ids)
        gone += discarded
        advance(len(ids))
        if discarded:
            yield Done(_name(chosen), True, f"{counted(discarded, 'failed job')} discarded", messages=discarded)
        left = None if left is None else left - len(ids)
        if left == 0:
            return
    if not gone:
        yield Done(_name(chosen), False, "has no open failed jobs", messages=0)


def _name(chosen: FailedFilter) -> str:
    return chosen.fingerprint or "failed"


def discard_jobs(app: PenstockApp, ids: Sequence[str], *, actor: str) -> list[str]:
    """Gives some failed jobs up, notes it in the audit of each, and says which ones were still open.

    Args:
        ids: in full, some hundred at most; what has not failed, or was dealt with already, is left alone.
    """
    with writing(app.settings.database_url) as connection:
        still = failed.lock_open(connection, ids)
        failed.discard(connection, still)
        for id in still:
            queries.add_audit(connection, actor=actor, action="discard", job_id=id)
    return still


def why_not_open(app: PenstockApp, ids: Sequence[str]) -> dict[str, str]:
    """Why :func:`discard_jobs` has left these alone, for people."""
    with reading(app.settings.database_url) as connection:
        known = failed.standings(connection, ids)
    return {id: _why_not_open(known.get(id)) for id in ids}


def _why_not_open(job: Standing | None) -> str:
    if job is None:
        return "is not in the ledger"
    if job.state is not State.FAILED:
        return f"has not failed, it is {job.state}"
    if job.reason == Reason.DISCARDED:
        return "was discarded already"
    if job.is_letter:
        return "has a message that is kept among the failures; discard that one"
    return "was retried already"


def _open_jobs(url: str, chosen: FailedFilter) -> Iterator[JobRow]:
    for stretch in _open_stretches(url, chosen, PAGE):
        with reading(url) as connection:
            rows = {row.id: row for row in queries.find_jobs(connection, stretch.ids)}
        # Retention may have deleted some since.
        yield from (rows[id] for id in stretch.ids if id in rows)


def _open_stretches(url: str, chosen: FailedFilter, size: int) -> Iterator[Stretch]:
    """Those that have open jobs."""
    return (stretch for stretch in _stretches(url, chosen, size) if stretch.ids)


def _stretches(url: str, chosen: FailedFilter, size: int) -> Iterator[Stretch]:
    """All failed jobs of this moment, in stretches."""
    until, after = datetime.now(UTC), None
    while True:
        with reading(url) as connection:
            stretch = failed.open_stretch(connection, chosen, until, size, after)
        yield stretch
        if stretch.after is None:
            return
        after = stretch.after
