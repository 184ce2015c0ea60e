"""The demo's own books against the ledger: is every accepted job accounted for?

`python -m demo.reconcile` repeats it for the last run.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.accounts import Accepted, Accounts
from demo.plan import Effect
from penstock import Settings, State
from penstock.embedded.system import UNUSED
from penstock.errors import PenstockError
from penstock.ledger import queries
from penstock.ledger.rows import JobRow
from penstock.ledger.session import reading

FOLDER = "demo"
BATCH = 500
SHOWN = 20


@dataclass(frozen=True)
class Balance:
    """What became of the accepted jobs.

    Attributes:
        unaccounted: one sentence for each job or effect that does not add up.
    """

    submitted: int
    by_state: Counter[State]
    unaccounted: Sequence[str]

    def __str__(self) -> str:
        return (
            f"{self.submitted} submitted = {self.by_state[State.SUCCEEDED]} succeeded"
            f" + {self.by_state[State.FAILED]} failed as planned + {self.by_state[State.CANCELLED]} cancelled,"
            f" {len(self.unaccounted)} unaccounted"
        )

    @property
    def is_even(self) -> bool:
        """Whether everything adds up."""
        return bool(self.submitted) and not self.unaccounted and self.submitted == self.by_state.total()


def reconcile(accounts: Accounts, database_url: str) -> Balance:
    """Compares the two books, job by job and effect by effect."""
    accepted = {job.id: job for job in accounts.accepted()}
    rows = {row.id: row for row in rows_of(database_url, [*accepted])}
    effects = accounts.effects()
    taken = Counter((effect.effect, effect.key) for effect in effects if effect.counts)
    runs = Counter((effect.effect, effect.key) for effect in effects)
    problems = _explain_hooks(accepted, taken, database_url)
    by_state: Counter[State] = Counter()
    for job in accepted.values():
        row = rows.get(job.id)
        found = ["the ledger has no row"] if row is None else [*_misfits(job, row, accounts.reports, taken, runs)]
        problems += [f"{job.label} {job.id}: {problem}" for problem in found]
        if not found:
            by_state[job.ends] += 1
    return Balance(len(accepted), by_state, problems)


def rows_of(database_url: str, ids: Sequence[str]) -> Iterator[JobRow]:
    """The rows of the jobs with these ids, as far as there are any."""
    with reading(database_url) as connection:
        for start in range(0, len(ids), BATCH):
            yield from queries.find_jobs(connection, ids[start : start + BATCH])


Effects = Counter[tuple[Effect, str]]


def _misfits(job: Accepted, row: JobRow, reports: Path, taken: Effects, runs: Effects) -> Iterator[str]:
    """What does not add up about one accepted job."""
    if row.state != job.ends:
        yield f"is {row.state.value}, must be {job.ends.value} ({row.error_message or row.reason})"
    elif job.error and row.error_type != job.error:
        yield f"failed with {row.error_type}, must fail with {job.error} ({row.error_message})"
    if job.effect is Effect.REPORT:
        yield from _missing_files(row, reports)
    elif job.effect is not Effect.NONE:
        yield from _wrong_counts(job, row, taken, runs)


def _missing_files(row: JobRow, reports: Path) -> Iterator[str]:
    if not row.result:
        yield "has no report"
        return
    for kind in ("html", "csv"):
        if not (reports / row.result[kind]).is_file():
            yield f"its report {row.result[kind]} is missing"


def _wrong_counts(job: Accepted, row: JobRow, taken: Effects, runs: Effects) -> Iterator[str]:
    key = (job.effect, job.key)
    expected = 1 if job.ends is State.SUCCEEDED else 0
    if taken[key] != expected:
        yield f"took effect {taken[key]} times outside, must be {expected}"
    elif job.effect is not Effect.WORKFLOW and runs[key] != row.attempts:
        yield f"was seen {runs[key]} times outside, and the ledger has {row.attempts} attempts"


def _explain_hooks(accepted: Mapping[str, Accepted], taken: Effects, database_url: str) -> list[str]:
    """Counts the webhooks that a workflow has delivered as its effect; the others are problems."""
    strange = [key for effect, key in taken if effect is Effect.HOOK and key not in accepted]
    roots = {row.id: row.root_id for row in rows_of(database_url, strange) if row.state is State.SUCCEEDED}
    problems = []
    for key in strange:
        root = roots.get(key)
        if root and root in accepted:
            taken[Effect.WORKFLOW, root] += 1
        else:
            problems.append(f"webhook {key}: took effect, and nobody submitted it")
    return problems


def main() -> int:
    """Reconciles the last run of this folder; exit code 0 when everything adds up."""
    try:
        # The books and the ledger are enough: the embedded broker has ended with the run.
        settings = Settings.load({**os.environ, "REDIS_URL": UNUSED})
        balance = reconcile(Accounts(settings.var / FOLDER), settings.database_url)
    except PenstockError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    report(balance)
    return 0 if balance.is_even else 1


def report(balance: Balance) -> None:
    """Prints what does not add up, then the balance."""
    for problem in balance.unaccounted[:SHOWN]:
        print(f"unaccounted: {problem}")
    if len(balance.unaccounted) > SHOWN:
        print(f"… and {len(balance.unaccounted) - SHOWN} more")
    print(balance)


if __name__ == "__main__":
    sys.exit(main())
