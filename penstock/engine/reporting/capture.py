"""What a body logs, by whichever logger, becomes part of its job's report; what the worker logs itself stays as it is.

A line belongs to the job in whose context it is logged. Where a process runs one job at a time, what a thread logs that
has no context of a job belongs to the one that runs, unless the thread was there before the first.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celery import signals

from penstock.config import LOG_LEVELS
from penstock.ledger import collecting
from penstock.ledger.collecting import Collection

OPTION = "job_logs"
"""kombu's transport option that is ours, as ``retention`` is."""
BESIDE = ("celery.", "kombu.", "amqp", "penstock.engine.", "penstock.keeper")
"""Loggers of those who run the job. Celery's for tasks hand on what a task logs or prints."""
OF_BODIES = ("celery.task", "celery.redirected")
_formatter = logging.Formatter()


class Capture(logging.Handler):
    """Gives each line to the job that logs it."""

    def __init__(self, level: int, *, is_alone: bool) -> None:
        """Args:
        is_alone: whether this process runs one job at a time.
        """
        super().__init__(level)
        self._is_alone = is_alone
        self._before = weakref.WeakSet(threading.enumerate())

    def handle(self, record: logging.LogRecord) -> bool:
        """Without a handler's lock: a body must not wait for another one's line."""
        kept = self.filter(record)
        if kept:
            # From Python 3.12 on a filter may give another record.
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a line."""
        collection = collecting.current()
        if collection is None and (not self._is_alone or (collection := self._of_thread()) is None):
            return
        if record.name.startswith(BESIDE) and not record.name.startswith(OF_BODIES):
            return
        if (report := collection.reporting()) is not None:
            report.log(record.created, record.levelno, record.name, _text(record))

    def _of_thread(self) -> Collection | None:
        return None if threading.current_thread() in self._before else collecting.last()


def _text(record: logging.LogRecord) -> str:
    """As logging would write it, without time and level."""
    try:
        text = record.getMessage()
    except (SoftTimeLimitExceeded, TimeLimitExceeded):
        raise
    except Exception as error:  # As logging itself, which tells of it on stderr.
        text = f"{record.msg!r} with arguments that do not fit ({type(error).__name__}: {error})"
    if record.exc_info and record.exc_info[0] is not None:
        text = f"{text}\n{_formatter.formatException(record.exc_info)}"
    if record.stack_info:
        text = f"{text}\n{record.stack_info}"
    return text


def level_of(options: dict[str, object]) -> int | None:
    """From which level on lines are kept, by kombu's transport options; None: none are."""
    return LOG_LEVELS.get(str(options.get(OPTION) or "info"), logging.INFO)


def install(level: int | None, *, is_alone: bool) -> None:
    """Captures from now on, and in processes that are forked from this one.

    Args:
        level: None: nothing.
        is_alone: whether each process runs one job at a time.
    """
    if level is None:
        return
    capture = Capture(level, is_alone=is_alone)
    _listen(capture)
    # A child of a stock pool may set up its logging anew.
    signals.worker_process_init.connect(lambda **_: _listen(capture), weak=False, dispatch_uid="penstock-capture")


def _listen(capture: Capture) -> None:
    root = logging.root
    before = root.level
    for each in (root, *_apart()):
        if capture in each.handlers:
            continue
        if each.level > capture.level:
            # Lines that only jobs' logs have must not get into the worker's.
            for handler in each.handlers:
                handler.setLevel(max(handler.level, each.level))
            each.setLevel(capture.level)
        each.addHandler(capture)
    if root.level < before:
        # Those who look at the level before they make a line go on to make none.
        for name in ("celery", "kombu", "amqp", "penstock.engine"):
            if not (beside := logging.getLogger(name)).level:
                beside.setLevel(before)


def _apart() -> Iterator[logging.Logger]:
    """Loggers that do not hand on what they take to the root."""
    for each in list(logging.root.manager.loggerDict.values()):
        if isinstance(each, logging.Logger) and not each.propagate and each.handlers:
            yield each
