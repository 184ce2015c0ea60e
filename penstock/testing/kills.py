"""Has a worker die at a step of a job's life, and another one finish."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, get_args

from penstock.client import Job
from penstock.job import State
from penstock.task import declared_task
from penstock.testing.attempts import Drained, StillWaiting
from penstock.testing.calls import owner_of

if TYPE_CHECKING:
    from penstock.testing.jobs import Jobs

KillPoint = Literal[
    "after claim", "in body", "after body", "before commit", "after commit", "before settle", "after settle"
]
KILL_POINTS: tuple[KillPoint, ...] = get_args(KillPoint)
"""Steps of a job's life, in their order, at which a worker may die."""
AFTER_COMMIT = KILL_POINTS[4:]
LOG, STARTS, SENT = "worker.log", "starts", "sent"
"""Files: what a worker has said, the ids of jobs whose body it has begun, and the jobs that it has sent."""
LOG_LINES = 30
LOOK_SECONDS = 0.02
GOODBYE_SECONDS = 2.0
"""What comes after the end of a job takes no time worth mentioning."""


@dataclass
class Crash:
    """What came of it.

    Attributes:
        step: at which the worker died.
        job: whose step it was; refreshed at the end.
        starts: how often its body has begun, in the worker that died and afterwards.
        drained: what was run afterwards.
    """

    step: KillPoint
    job: Job[Any] = field(init=False)
    starts: int = field(init=False, default=0)
    drained: Drained = field(init=False)


@contextmanager
def killing(
    jobs: Jobs, where: str, step: KillPoint, after_call: str, timeout: float, *, by_process: bool
) -> Iterator[Crash]:
    """See :meth:`penstock.testing.Jobs.kill`."""
    if step not in KILL_POINTS:
        raise ValueError(f"{step!r} is no kill point; there are {', '.join(KILL_POINTS)}")
    if after_call and step != "in body":
        raise ValueError(f'after_call is of the step "in body", not of {step!r}')
    if after_call:
        owner_of(after_call)  # Or the worker would find out, and say so in its log.
    crash = Crash(step)
    before = {job.id for job in jobs.enqueued()}
    yield crash
    new = [job for job in jobs.enqueued() if job.id not in before]
    if not new:
        raise AssertionError("no job was enqueued inside of jobs.kill(), so no worker can die of one")
    crash.job = new[0].job
    with TemporaryDirectory(prefix="penstock-") as name:
        folder = Path(name)
        jobs.bench.fetch()
        with _worker(jobs, where, crash, folder, step, after_call) as worker:
            _await_death(jobs, worker, crash, folder / LOG, timeout)
        jobs.bench.bury_workers()
        jobs.bench.put_back_lost()
        if by_process:
            jobs.bench.fetch()
            with _worker(jobs, where, crash, folder, "", "") as worker:
                _await_quiet(jobs, worker, folder / LOG, timeout)
        jobs.watch.note_file(folder / SENT)
        first = len(jobs.attempts)
        crash.drained = jobs.drain(timeout=timeout)
        later = [attempt.id for attempt in jobs.attempts[first:]]
        crash.starts = [*(folder / STARTS).read_text().splitlines(), *later].count(crash.job.id)
    crash.job.refresh()


@contextmanager
def _worker(
    jobs: Jobs, where: str, crash: Crash, folder: Path, step: str, after_call: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the app in a process group of its own, which is gone at the end."""
    from penstock.testing.worker import Plan

    plan = Plan(
        app=where,
        modules=_modules_of(jobs, crash.job.task),
        key_prefix=jobs.servers.settings.key_prefix,
        queues=jobs.bench.queues(),
        starts=str(folder / STARTS),
        sent=str(folder / SENT),
        step=step,
        job=crash.job.id,
        after_call=after_call,
    )
    plan.write(folder / "plan.json")
    path = os.pathsep.join(dict.fromkeys(each or str(Path.cwd()) for each in sys.path))
    # Whoever is killed leaves what it has in its folder for temporary files.
    own = {"PYTHONPATH": path, "TMPDIR": str(folder)}
    with (folder / LOG).open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "penstock.testing.worker", str(folder / "plan.json")],
            env=os.environ | jobs.servers.environment | own,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield worker
    finally:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def _await_quiet(jobs: Jobs, worker: subprocess.Popen[bytes], log: Path, timeout: float) -> None:
    """Waits until everything has run that is due, and has the worker end in order."""
    deadline = time.monotonic() + timeout
    while not jobs.bench.is_quiet():
        if worker.poll() is not None or time.monotonic() > deadline:
            raise StillWaiting(f"the worker did not finish within {timeout:g} s{_end_of(log)}")
        time.sleep(LOOK_SECONDS)
    worker.terminate()
    with suppress(subprocess.TimeoutExpired):
        worker.wait(timeout)


def _await_death(jobs: Jobs, worker: subprocess.Popen[bytes], crash: Crash, log: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    patience = GOODBYE_SECONDS if crash.step in AFTER_COMMIT else 0.0
    ended_at = None
    while worker.poll() is None:
        now = time.monotonic()
        if ended_at is None and jobs.bench.is_done_with(crash.job.id):
            ended_at = now
        if now > deadline or (ended_at is not None and now > ended_at + patience):
            break
        time.sleep(LOOK_SECONDS)
    if worker.poll() == -signal.SIGKILL:
        return
    if worker.poll() is not None:
        what = f"the worker ended by itself (code {worker.returncode}) before it came to {crash.step!r}"
    elif ended_at is not None:
        what = f"{crash.job!r} ended without coming to {crash.step!r}{_hint(jobs, crash)}"
    else:
        what = f"{crash.job!r} did not come to {crash.step!r} within {timeout:g} s"
    raise AssertionError(f"{what}{_end_of(log)}")


def _end_of(log: Path) -> str:
    said = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
    return f"; the worker's log ends with\n{said or '(nothing)'}"


def _hint(jobs: Jobs, crash: Crash) -> str:
    task = jobs.app.tasks.get(crash.job.task)
    if task is not None and not task.acks_late:
        return ": its task has acks_late=False, so its message is gone from Redis before its body begins"
    return ""


def _modules_of(jobs: Jobs, name: str) -> list[tuple[str, str]]:
    """Where the task is declared: the app may not import that, as for one that a test module declares."""
    declared = declared_task(name)
    function: Any = declared.function if declared else getattr(jobs.app.tasks.get(name), "run", None)
    module = inspect.getmodule(inspect.unwrap(function)) if function is not None else None
    file = getattr(module, "__file__", None)
    return [(function.__module__, file)] if file else []


def crash_everywhere(
    enqueue: Callable[[], object],
    check: Callable[[Crash], object],
    steps: Sequence[KillPoint],
    kill: Callable[[KillPoint], Any],
) -> list[Crash]:
    """See :meth:`penstock.testing.Jobs.crash_everywhere`."""
    crashes: list[Crash] = []
    verdicts: list[tuple[Crash, AssertionError | None]] = []
    for step in steps:
        with kill(step) as crash:
            enqueue()
        crashes.append(crash)
        try:
            check(crash)
        except AssertionError as error:
            verdicts.append((crash, error))
        else:
            verdicts.append((crash, None))
    shown = table(verdicts)
    print(shown)
    if any(error is not None for _, error in verdicts):
        raise AssertionError(f"not every crash left what it should:\n{shown}")
    return crashes


def table(verdicts: Sequence[tuple[Crash, AssertionError | None]]) -> str:
    """What came of each crash, for people."""
    rows = [("killed", "starts", "state", "check")]
    for crash, error in verdicts:
        said = "ok" if error is None else (str(error).strip().splitlines() or ["failed"])[0]
        state = crash.job.state or State.QUEUED
        rows.append((crash.step, str(crash.starts), state.value, said))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    )
