"""How times, errors and other people's text are put in short."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from penstock.job import UNSAID, State
from penstock.ledger.fires import FireRow, Origin
from penstock.ledger.rows import JobRow
from penstock.progress import Progress, seconds_left
from penstock.wording import distance, duration, one_line

SHORT_ID = 8


def short_id(id: str) -> str:
    """The first digits of a UUID, as hashes are commonly shown; any other id as it is."""
    return id[:SHORT_ID] if is_uuid(id) else id


def is_uuid(id: str) -> bool:
    """Whether an id has the form that clients make up, and was not chosen by somebody."""
    return len(id) == 36 and all(character in "0123456789abcdef-" for character in id)


def error_in_short(row: JobRow) -> str:
    """Type and message of a job's error in one line; empty without one."""
    return in_short(row.error_type, row.error_message)


def in_short(error_type: str | None, error_message: str | None) -> str:
    """An error in one line; empty without one."""
    if error_type is None:
        return ""
    kind = error_type.rpartition(".")[2]
    message = one_line(error_message or "")
    return f"{kind}: {message}" if message else kind


def state_note(row: JobRow, now: datetime) -> str:
    """What the state's name leaves open: the reason of an end, the time of the next attempt."""
    if row.state is State.SCHEDULED and row.eta and row.eta > now:
        return f"due {distance(row.eta, now)}"
    return row.reason.value if row.reason and row.reason not in UNSAID else ""


def planned_text(fire: FireRow) -> str:
    """The schedule that has started a job, and for when."""
    how = "planned" if fire.origin is Origin.PLANNED else fire.origin.value
    return f"schedule {fire.schedule}, {how} for {fire.planned_at:%Y-%m-%d %H:%M:%S} UTC"


def progress_in_words(progress: Progress, rate: float | None) -> str:
    """How far a job is, in a line: `45%, 450/1,000, 12/s, 44s left, at row 450`."""
    left = seconds_left(progress, rate)
    parts = [percent(progress), done_of(progress), per_second(rate), f"{duration(left)} left" if left else ""]
    return ", ".join(part for part in (*parts, one_line(progress.note or "")) if part)


def percent(progress: Progress) -> str:
    """45%, rounded down: 100% is when all is done; empty without a total."""
    return f"{int(progress.fraction * 100)}%" if progress.fraction is not None else ""


def done_of(progress: Progress) -> str:
    """450/1,000; without a total 450."""
    total = f"/{_number(progress.total)}" if progress.total is not None else ""
    return f"{_number(progress.done)}{total}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def per_second(rate: float | None) -> str:
    """12/s, 0.25/s; empty when it is not known."""
    return "" if rate is None else f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"


def call_of(task: str, args: Any, kwargs: Any) -> str:
    """A job as it would be written in Python; arguments of another form than Celery's are left out."""
    values = args if isinstance(args, list) else []
    named = kwargs if isinstance(kwargs, dict) else {}
    given = [*(repr(value) for value in values), *(f"{name}={value!r}" for name, value in named.items())]
    return f"{task}({', '.join(given)})"
