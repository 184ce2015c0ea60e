"""The thread of a process that hands over what bodies say of themselves. It begins with the first that says something.

It looks four times a second and never waits for the keeper: what there is no room for is handed over later, and of what
is said meanwhile only warnings and errors are kept.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime

from celery.app.task import Context

from penstock.engine.reporting.attempt import AttemptReport, Packet
from penstock.ledger import collecting
from penstock.ledger.collecting import Collection
from penstock.ledger.delivery import describe_delivery
from penstock.ledger.values import as_time
from penstock.message import ENQUEUED_AT
from penstock.task import RunningJob, find_running_by

logger = logging.getLogger(__name__)
PAUSE_SECONDS = 0.25
MOST_HELD = 8_000_000
"""Characters of lines that wait in a process; beyond them lines are counted and not kept."""
MOST_REPORTS = 10_000
"""Of attempts that have ended; those of more are given up."""
CLOSE_SECONDS = 1.0
"""How long the end of a process waits for room."""


class Reporter:
    """Of one process. Constructing starts nothing."""

    def __init__(self, send: Callable[[Packet], bool]) -> None:
        """Args:
        send: hands a packet over without waiting; False when there is no room.
        """
        self._send = send
        self.is_behind = False
        self._held = 0
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a forked process: what is here is the other one's, and its thread is not."""
        for report in getattr(self, "_waiting", ()):
            report.close()
        self._lock = threading.Lock()
        self._waiting: deque[AttemptReport] = deque()
        self._has_news = threading.Event()
        self._thread: threading.Thread | None = None

    def report(self, collection: Collection) -> AttemptReport:
        """A new one, for the attempt that collects here."""
        id, began = collection.job_id, collection.started or time.time()
        told = describe_delivery(id, Context(collection.request) if collection.request is not None else None)
        return AttemptReport(id, began, told.token, self, is_repeated=bool(told.retries or told.deliveries))

    # -- what reports ask for -----------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether this process keeps no more lines."""
        return self._held > MOST_HELD

    def hold(self, characters: int) -> None:
        """So many more characters of lines wait in this process, or fewer."""
        with self._lock:
            self._held += characters

    def add(self, report: AttemptReport) -> None:
        """Has a report flushed soon."""
        self._waiting.append(report)
        self._has_news.set()
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="reports", daemon=True)
                    self._thread.start()

    def send(self, packet: Packet) -> bool:
        """Hands a packet over, unless there is no room."""
        with self._lock:
            is_sent = self._send(packet)
        if not is_sent:
            self.is_behind = True
        return is_sent

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._has_news.wait()
            time.sleep(PAUSE_SECONDS)
            self._has_news.clear()
            try:
                if not self._flush():
                    self._has_news.set()
            except Exception:  # Bodies go on saying something.
                logger.exception("what jobs have reported cannot be handed over")

    def _flush(self) -> bool:
        """Hands over what there is; whether nothing waits any more."""
        is_done = True
        for _ in range(len(self._waiting)):
            report = self._waiting.popleft()
            if is_done and report.flush():
                continue
            is_done = False
            if not report.has_ended or len(self._waiting) < MOST_REPORTS:
                self._waiting.append(report)
        if is_done:
            self.is_behind = False
        return is_done

    def close(self) -> None:
        """Before the process ends: what has not been handed over gets a moment more."""
        deadline = time.monotonic() + CLOSE_SECONDS
        while self._waiting and not self._flush() and time.monotonic() < deadline:
            time.sleep(CLOSE_SECONDS / 20)


class _Silent:
    """The report of a job in a process that was forked by its body: the attempt's own process says all."""

    def progress(self, done: float, total: float | None, note: str | None) -> None:
        pass

    def log(self, at: float, level: int, logger: str, text: str) -> None:
        pass

    def end(self) -> None:
        pass


_reporter: Reporter | None = None


def use(reporter: Reporter) -> None:
    """Has what bodies say in this process, and in those that it forks, handed over by ``reporter``."""
    global _reporter
    _reporter = reporter
    collecting.report_by(reporter.report)
    find_running_by(_find_running)


def _find_running() -> RunningJob | None:
    """The job of a task that is Celery's own."""
    collection = collecting.current()
    if collection is None or not isinstance(request := collection.request, dict):
        return None
    retries = request.get("retries")
    return RunningJob(
        collection.job_id,
        str(request.get("task")),
        1 + (retries if isinstance(retries, int) else 0),
        _time(request),
        collection,
    )


def _time(request: dict[str, object]) -> datetime | None:
    return as_time(request.get(ENQUEUED_AT))


def _begin_anew() -> None:
    if _reporter is not None:
        _reporter.begin_anew()
    if (collection := collecting.current() or collecting.last()) is not None:
        collection.report = _Silent()


os.register_at_fork(after_in_child=_begin_anew)
