"""`python -m tests.faults.command SIDE COMMAND …`: Celery's own command on one side's application."""

import sys


def main() -> None:
    side, *arguments = sys.argv[1:]
    if side == "stock":
        keep_ours_out()
    from celery.__main__ import main as celery

    sys.argv = ["celery", "-A", f"tests.faults.{side}_app", *arguments]
    celery()


def keep_ours_out() -> None:
    """Makes every import of ours fail in this process: Celery's command loads all plug-ins that are installed."""
    sys.modules["penstock"] = None  # type: ignore[assignment]


if __name__ == "__main__":
    main()
