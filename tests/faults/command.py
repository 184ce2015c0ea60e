"""`python -m tests.faults.command SIDE COMMAND …`: Celery's own command on one side's application."""

import os
import sys
import time

AHEAD = "FAULTS_CLOCK_AHEAD"
"""Environment variable: seconds by which this process believes to be later, where libfaketime is not installed."""


def main() -> None:
    side, *arguments = sys.argv[1:]
    set_clock()
    if side == "stock":
        keep_ours_out()
    from celery.__main__ import main as celery

    sys.argv = ["celery", "-A", f"tests.faults.{side}_app", *arguments]
    celery()


def keep_ours_out() -> None:
    """Makes every import of ours fail in this process: Celery's command loads all plug-ins that are installed."""
    sys.modules["penstock"] = None  # type: ignore[assignment]


def set_clock() -> None:
    """Before anything takes ``time.time`` by name, as kombu does."""
    if ahead := float(os.environ.get(AHEAD, 0)):
        right = time.time
        time.time = lambda: right() + ahead


if __name__ == "__main__":
    main()
