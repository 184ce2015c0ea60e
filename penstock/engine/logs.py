"""Lines of level INFO about jobs, written in batches by the keeper: the two that Celery logs cost more than most jobs.

Only where logging is as Celery sets it up: a stream or a file, and its format. Whoever has set up logging of their own
gets every line by way of that, from the process that it is about.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from celery.app.trace import LOG_RECEIVED, LOG_SUCCESS
from celery.utils.log import ColorFormatter, get_logger

strategy_logger, trace_logger = get_logger("celery.worker.strategy"), get_logger("celery.app.trace")


def reads_info() -> bool:
    """Whether anybody reads what is logged about jobs at level INFO."""
    return any(logger.isEnabledFor(logging.INFO) for logger in (strategy_logger, trace_logger))


def is_celerys_logging() -> bool:
    """Whether lines of Celery's own end in streams or files that it has opened, in its format."""
    for logger in (strategy_logger, trace_logger):
        if any(each.handlers or each.filters for each in _up(logger) if each is not logging.root):
            return False
    handlers = logging.root.handlers
    return bool(handlers) and not logging.root.filters and all(map(_is_celerys, handlers))


def _up(logger: logging.Logger) -> list[logging.Logger]:
    found: list[logging.Logger] = []
    current: logging.Logger | None = logger
    while current is not None:
        # A handler that takes nothing is no handler.
        if not all(isinstance(handler, logging.NullHandler) for handler in current.handlers):
            found.append(current)
        current = current.parent if current.propagate else None
    return found


def _is_celerys(handler: logging.Handler) -> bool:
    return (
        isinstance(handler, logging.StreamHandler) and type(handler.formatter) is ColorFormatter and not handler.filters
    )


class Lines:
    """The keeper's end."""

    def __init__(self) -> None:
        self._handlers = [handler for handler in logging.root.handlers if isinstance(handler, logging.StreamHandler)]
        self._unwritten: list[list[str]] = [[] for _ in self._handlers]
        self._second = -1
        self._prefix = ""

    def received(self, at: float, headers: dict[str, Any]) -> None:
        """A job was claimed."""
        self._add("celery.worker.strategy", "MainProcess", at, LOG_RECEIVED % headers)

    def succeeded(self, at: float, process: str, told: dict[str, Any]) -> None:
        """A job has succeeded."""
        self._add("celery.app.trace", process, at, LOG_SUCCESS % told)

    def add(self, at: float, process: str, text: str) -> None:
        """A line of a child's."""
        self._add("celery.app.trace", process, at, text)

    def _add(self, name: str, process: str, at: float, text: str) -> None:
        for handler, lines in zip(self._handlers, self._unwritten, strict=True):
            lines.append(self._format(handler, name, process, at, text))

    def _format(self, handler: logging.StreamHandler[Any], name: str, process: str, at: float, text: str) -> str:
        formatter = handler.formatter
        assert isinstance(formatter, ColorFormatter)
        values = {
            "name": name,
            "levelname": "INFO",
            "levelno": logging.INFO,
            "processName": process,
            "process": 0,
            "threadName": "MainThread",
            "thread": 0,
            "created": at,
            "msecs": (at - int(at)) * 1000,
            "message": text,
            "asctime": self._time(formatter, at),
            "module": name.rpartition(".")[2],
            "funcName": "",
            "filename": "",
            "pathname": "",
            "lineno": 0,
            "task_id": "???",
            "task_name": "???",
        }
        return str(formatter._fmt % values)

    def _time(self, formatter: logging.Formatter, at: float) -> str:
        """As logging writes it; most lines are of the second of the one before."""
        second = int(at)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime(formatter.datefmt or formatter.default_time_format, formatter.converter(at))
        if formatter.datefmt or not formatter.default_msec_format:
            return self._prefix
        return formatter.default_msec_format % (self._prefix, (at - second) * 1000)

    def flush(self) -> None:
        """Writes what has come, each handler's lines in one piece."""
        for handler, lines in zip(self._handlers, self._unwritten, strict=True):
            if lines:
                handler.acquire()
                try:
                    handler.stream.write("\n".join(lines) + "\n")
                    handler.flush()
                finally:
                    handler.release()
                lines.clear()
