"""Replaying and discarding the failed jobs of one error, those whose messages are no dead letters."""

from __future__ import annotations

import re
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from penstock.app import PenstockApp
from penstock.checks import require_redis
from penstock.job import Reason, State
from penstock.ledger import failed, queries
from penstock.ledger.failed import Standing, Stretch
from penstock.ledger.rows import JobRow
from penstock.ledger.session import reading, writing
from penstock.operations.broker import broker_of, note
from penstock.operations.failures.bench import Advance, Done
from penstock.operations.failures.entries import bring_to_ledger
from penstock.operations.failures.groups import FINGERPRINT, find_group
from penstock.operations.failures.pace import Pace
from penstock.operations.jobs.retry import problem_of, submit
from penstock.operations.wording import counted

PAGE = 500
COUNTED_TOGETHER = 2_000
COUNTED = 10_000
"""Failed jobs beyond which nobody counts on."""


@dataclass(frozen=True)
class Plan:
    """What would be replayed or discarded of one error."""

    fingerprint: str
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
    url = app.settings.database_url
    with broker_of(app) as scripts:
        # A job whose message is a dead letter that the ledger lacks would look open.
        bring_to_ledger(scripts, url)
    count, is_more = _count(url, given, looked_at)
    with reading(url) as connection:
        is_known = count > 0 or find_group(connection, given, None) is not None
    return Plan(given, count, is_more) if is_known else None


def _count(url: str, fingerprint: str, looked_at: int | None) -> tuple[int, bool]:
    """How many are open, and whether there may be more."""
    count = looked = 0
    for stretch in _stretches(url, fingerprint, COUNTED_TOGETHER):
        count, looked = count + len(stretch.ids), looked + COUNTED_TOGETHER
        is_enough = count > COUNTED or (looked_at is not None and looked >= looked_at)
        if is_enough and (count > COUNTED or stretch.after):
            return min(count, COUNTED), True
    return count, False


def replay(
    app: PenstockApp, fingerprint: str, *, actor: str, rate: float | None, advance: Advance = lambda _: None
) -> Generator[Done, None, None]:
    """Submits the failed jobs of an error anew, the oldest first, and yields what became of each.

    Each is noted in its audit, as a retry, and all of them together at the end, also when somebody stops half way. What
    fails meanwhile is not taken, and what was retried before is not either, so this may be repeated. Killed between
    sending a job and noting it, it sends that one again the next time: under the same id, which is the same job.

    Args:
        rate: jobs a second; None: no limit.
        advance: called with the number of jobs that were dealt with since.

    Raises:
        BrokerUnavailable: Redis did not take a job; what was yielded is done.
        LedgerUnavailable: SQL went away; the message says whether the last one was sent.
    """
    app.loader.import_default_modules()
    require_redis(app.settings)
    pace, done = Pace(rate), 0
    try:
        for row in _open_jobs(app.settings.database_url, fingerprint):
            pace.wait()
            result = _replay(app, row, actor)
            done += result.done
            advance(1)
            yield result
    finally:
        _note(app, "replay", fingerprint, done, actor)


def _replay(app: PenstockApp, row: JobRow, actor: str) -> Done:
    if problem := problem_of(app, row):
        return Done(row.id, False, problem.removeprefix(row.id).lstrip(": "))
    new = retried_as(row.id)
    if submit(app, row, new, actor=actor, details={}, is_wanted=lambda it: bool(failed.lock_open(it, [row.id]))):
        return Done(row.id, True, f"→ {new}", new)
    return Done(row.id, False, "was retried or discarded already: somebody was first", messages=0)


def retried_as(id: str) -> str:
    """The id of the job that carries a failed one's on. Of that one alone, so that two sendings are one job."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"penstock:retry:{id}"))


def discard(
    app: PenstockApp, fingerprint: str, *, actor: str, rate: float | None, advance: Advance = lambda _: None
) -> Generator[Done, None, None]:
    """Gives the failed jobs of an error up: their rows stay and say so. Yields one answer, for all of them.

    The arguments and errors are those of :func:`replay`.
    """
    url = app.settings.database_url
    pace, gone = Pace(rate), 0
    try:
        for stretch in _open_stretches(url, fingerprint, pace.portion(PAGE)):
            pace.wait(len(stretch.ids))
            with writing(url) as connection:
                discarded = failed.discard(connection, stretch.ids)
            gone += discarded
            advance(discarded)
    finally:
        _note(app, "discard", fingerprint, gone, actor)
    if gone:
        yield Done(fingerprint, True, f"{counted(gone, 'failed job')} discarded", messages=gone)
    else:
        yield Done(fingerprint, False, "has no open failed jobs", messages=0)


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


def _open_jobs(url: str, fingerprint: str) -> Iterator[JobRow]:
    for stretch in _open_stretches(url, fingerprint, PAGE):
        with reading(url) as connection:
            rows = {row.id: row for row in queries.find_jobs(connection, stretch.ids)}
        # Retention may have deleted some since.
        yield from (rows[id] for id in stretch.ids if id in rows)


def _open_stretches(url: str, fingerprint: str, size: int) -> Iterator[Stretch]:
    """Those that have open jobs."""
    return (stretch for stretch in _stretches(url, fingerprint, size) if stretch.ids)


def _stretches(url: str, fingerprint: str, size: int) -> Iterator[Stretch]:
    """All failed jobs of this moment, in stretches."""
    until, after = datetime.now(UTC), None
    while True:
        with reading(url) as connection:
            stretch = failed.open_stretch(connection, fingerprint, until, size, after)
        yield stretch
        if stretch.after is None:
            return
        after = stretch.after


def _note(app: PenstockApp, action: str, fingerprint: str, count: int, actor: str) -> None:
    """One row for the whole, with the count."""
    if count:
        done = f"{action} of {counted(count, 'failed job')} of {fingerprint} is done"
        note(app, actor, action, {"error": fingerprint, "count": count}, done)
