"""`make demo`: submits a few hundred real jobs, waits for them, and accounts for every single one."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from rich.console import Console

from demo import metronome, pictures
from demo.plan import Planned, plan
from demo.progress import TooSlow, watch
from demo.reconcile import Balance, reconcile, report, rows_of
from demo.stage import Stage, running_system
from penstock.embedded import signals
from penstock.errors import PenstockError
from penstock.ledger.rows import JobRow
from penstock.operations.books.auditing import audit
from tasks.housekeeping import heartbeat

PATIENCE = 150.0
SETTLING = 30.0
SIGNALLED = 128
PICTURES = "DEMO_PICTURES"
"""Environment variable: folder for pictures of Flower's pages; none are taken without it."""


def main() -> int:
    """Runs the demo; exit code 0 only when everything is accounted for, 128 and its number after a signal."""
    console = Console()
    try:
        if folder := os.environ.get(PICTURES):
            pictures.make_ready(Path(folder))
        with signals.handled(signals.interrupt), running_system() as stage:
            balance, score = _play(stage, console)
    except (PenstockError, TooSlow, pictures.Unpictured) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        return SIGNALLED + signal.Signals[str(interrupt) or "SIGINT"]
    console.print(str(score), soft_wrap=True)
    report(balance)
    return 0 if balance.is_even and score.is_right else 1


def _play(stage: Stage, console: Console) -> tuple[Balance, metronome.Score]:
    from workers import app

    log = stage.folder / "second-beat.log"
    with log.open("w") as output, metronome.running(stage.settings, app, heartbeat.name, output) as ticking:
        balance = _work(stage, console, ticking)
        return balance, ticking.score()


def _work(stage: Stage, console: Console, ticking: metronome.Metronome) -> Balance:
    jobs = plan(stage.site.address, stage.accounts.effects_file)
    cancelled = [planned for planned in jobs if planned.is_cancelled]
    console.print(f"submitting {len(jobs)} jobs to workers that Flower shows at {stage.flower} …")
    _cancel([_submit(stage, planned) for planned in cancelled])
    for planned in jobs:
        if not planned.is_cancelled:
            _submit(stage, planned)
    accepted = stage.accounts.accepted()
    ids = [job.id for job in accepted]

    def rows() -> list[JobRow]:
        found = list(rows_of(stage.settings.database_url, ids))
        if sum(row.state.is_final for row in found) * 2 > len(ids):
            ticking.kill_one()
        return found

    watch(accepted, rows, console, PATIENCE)
    balance = _settled(stage)
    _show_books(console)
    console.print(f"fetched: up to {stage.site.most_at_once} slow pages at once by one process", soft_wrap=True)
    _show_reports(stage.accounts.reports, console)
    if folder := os.environ.get(PICTURES):
        pictures.take(stage, accepted, Path(folder))
    return balance


def _submit(stage: Stage, planned: Planned) -> str:
    job = planned.submit()
    stage.accounts.accept(job.id, planned)
    return job.id


def _cancel(ids: list[str]) -> None:
    """Tells every worker, as `celery -A workers jobs cancel` does, while the jobs wait for their time."""
    from workers import app

    app.control.revoke(ids, reply=True, timeout=2)


def _settled(stage: Stage) -> Balance:
    """The balance once it is even: the last step of the workflow ends after the job that started it."""
    deadline = time.monotonic() + SETTLING
    while True:
        balance = reconcile(stage.accounts, stage.settings.database_url)
        if balance.is_even or time.monotonic() > deadline:
            return balance
        time.sleep(0.3)


def _show_books(console: Console) -> None:
    """What `celery -A workers audit` says of every job that was ever accepted here, not only of this run's."""
    from workers import app

    console.print(f"audit: {audit(app, (), deep=False, limit=0).sentence}", soft_wrap=True)


def _show_reports(folder: Path, console: Console) -> None:
    for page in (*folder.glob("*.html"), *folder.rglob("index.html")):
        shown = page.relative_to(Path.cwd()) if page.is_relative_to(Path.cwd()) else page
        console.print(f"report: {shown}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
