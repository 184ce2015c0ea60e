"""How times, numbers and other people's text are put in short."""

from __future__ import annotations

import re
from datetime import datetime

# Everything that moves the cursor, changes colours or turns the direction of writing. A job's arguments and
# errors come from anywhere, and may not operate the reader's terminal.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def duration(seconds: float) -> str:
    """A length of time, short: 4ms, 1.25s, 3m 5s, 2h 10m."""
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.3g}s"
    rest = round(seconds)
    parts = []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def distance(moment: datetime, now: datetime) -> str:
    """A time as seen from now, in its largest unit: 5s ago, 3m ago, in 2h."""
    seconds = (now - moment).total_seconds()
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            count = f"{abs(seconds) // size:.0f}{unit}"
            return f"{count} ago" if seconds > 0 else f"in {count}"
    return "now"


def one_line(text: str) -> str:
    """``text`` without line ends and control characters."""
    return " ".join(printable(text).split())


def printable(text: str) -> str:
    """``text`` with each control character, except line ends and tabs, as U+FFFD."""
    return _CONTROL.sub("\ufffd", text).encode("utf-8", "replace").decode("utf-8")


def counted(number: int, noun: str) -> str:
    """1 job, 1,204 jobs."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
