"""`schedules list`: what is told of many schedules, and of who looks after them."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery
from rich.cells import cell_len

from penstock import adopt
from penstock.app import PenstockApp
from penstock.cli.schedules import schedules
from penstock.ledger import schedules as rows
from penstock.ledger.schedules import ScheduleRow
from penstock.ledger.session import writing
from penstock.ledger.tables import metadata
from penstock.scheduler import At, Calendar, Cron, Every, Foreign
from tests.cli.conftest import Run, run_with
from tests.conftest import DATABASES, NewLedger, producer
from tests.scheduler.ground import HOUR, Ground, foreign, sums

LONG = "lists of everything that ever happened to anybody in the north-western region, by week and by customer"
WIDTHS = [60, 80, 120, 200]
on_each_database = pytest.mark.parametrize("database_url", DATABASES, indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, new_ledger: NewLedger) -> Iterator[str]:
    """One database will do where nothing but words is at stake; tests/scheduler has the statements on each."""
    with new_ledger(getattr(request, "param", "sqlite")) as url:
        yield url


@pytest.fixture
def ground(app: PenstockApp) -> Iterator[Ground]:
    """An empty ledger."""
    with Ground(app) as made:
        yield made


def seen(run: Run, width: int = 120) -> list[str]:
    """The lines that a terminal of this width shows, without colours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORCE_COLOR", "1")
        patch.setenv("TERM", "xterm-256color")
        patch.setenv("COLUMNS", str(width))
        result = run(schedules, "list")
    assert result.exit_code == 0, result.stderr
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", result.stdout).splitlines()]


def line_of(name: str, lines: list[str]) -> str:
    """What the table says of a schedule in its first line, blanks squeezed."""
    return " ".join(next(line for line in lines if line.startswith(name)).split())


def a_beat(ground: Ground, ago: timedelta = timedelta(0), name: str = "beat-1@web-1") -> None:
    """A scheduler that looked what is due so long ago."""
    with writing(ground.url) as connection:
        now = rows.clock(connection)
        rows.note_beat(connection, name, now - HOUR, now - ago)


# -- for machines -----------------------------------------------------------------------------------------------------


def test_in_a_pipe_each_schedule_is_a_line_of_seven_columns(run: Run, ground: Ground) -> None:
    ground.add(ground.sums("hourly", when=Every(3600), timezone="Europe/Berlin"), previous_at=ground.hour(-1))
    ground.add(ground.sums("nightly sales", when=Cron("0 2 * * *")), since=1)
    ground.changes.pause("nightly sales")
    first, second = (line.split("\t") for line in run(schedules, "list").stdout.splitlines())
    times = [ground.hour(0).isoformat(), ground.hour(-1).isoformat()]
    assert first == ["hourly", "every 3600 s", "Europe/Berlin", *times, "", "tests.jobs.add"]
    assert second[:5] == ["nightly sales", "0 2 * * *", "UTC", ground.hour(1).isoformat(), ""]
    assert datetime.fromisoformat(second[5]).tzinfo
    assert second[6] == "tests.jobs.add"


def test_a_pipe_of_no_schedules_is_empty(run: Run, ground: Ground) -> None:
    result = run(schedules, "list")
    assert (result.exit_code, result.output) == (0, "")


def test_json_has_every_field_of_every_schedule(run: Run, ground: Ground) -> None:
    ground.add(ground.sums("a", tags=("x",)), by="shop")
    (found,) = json.loads(run(schedules, "list", "--json").stdout)["schedules"]
    assert set(found) == {field.name for field in fields(ScheduleRow)}
    assert (found["name"], found["declared_by"], found["paused_at"]) == ("a", "shop", None)
    assert found["planned_at"] == ground.hour(0).isoformat()
    assert found["definition"]["tags"] == ["x"]


@on_each_database
def test_json_has_the_beats_and_whether_they_are_at_work(run: Run, ground: Ground) -> None:
    a_beat(ground, name="beat-1@web-1")
    a_beat(ground, timedelta(minutes=3), name="beat-2@web-2")
    found = json.loads(run(schedules, "list", "--json").stdout)
    assert [(beat["name"], beat["is_at_work"]) for beat in found["beats"]] == [
        ("beat-1@web-1", True),
        ("beat-2@web-2", False),
    ]
    assert found["schedules"] == []


def test_only_those_with_a_tag_are_listed(run: Run, ground: Ground) -> None:
    ground.add(sums("a", tags=("net", "slow")), sums("b", tags=("net",)), sums("c"))
    for tag, names in (("net", ["a", "b"]), ("slow", ["a"]), ("ne", [])):
        lines = run(schedules, "list", "--tag", tag).stdout.splitlines()
        found = json.loads(run(schedules, "list", "--tag", tag, "--json").stdout)["schedules"]
        assert [line.split("\t")[0] for line in lines] == [row["name"] for row in found] == names


# -- for people -------------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(ground: Ground) -> Ground:
    """Schedules of every kind, with names and timetables that do not fit."""
    ground.add(
        sums("bill", when=Calendar("month", "last working day", "18:00"), timezone="Europe/Berlin"),
        sums(
            "sprint", when=Calendar("week", "monday, thursday", "09:00", 2), timezone="America/Argentina/Buenos_Aires"
        ),
        sums("christmas", when=At(datetime(2099, 12, 24, 17, tzinfo=UTC)), timezone="Europe/Berlin"),
        sums(LONG, when=Cron("*/5 8-17 * * MON-FRI")),
        sums("日本語の予定", when=Every(0.5)),
        since=1,
        previous_at=ground.hour(-26),
    )
    ground.add(ground.sums("late"), since=-1)
    ground.add(ground.sums("over"), since=None, planned_at=None, due_at=None, fires=1)
    ground.add(foreign(name="sunset"), since=None)
    ground.changes.pause("bill", "the partners' API is down")
    return ground


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_of_the_table_is_wider_than_the_terminal(run: Run, mixed: Ground, width: int) -> None:
    assert max(cell_len(line) for line in seen(run, width)) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_a_name_that_does_not_fit_takes_no_column_away(run: Run, mixed: Ground, width: int) -> None:
    lines = seen(run, width)
    assert lines[0].split() == ["schedule", "when", "next", "last", "task"]
    assert "1d ago" in line_of("sprint", lines)
    assert line_of("sprint", lines).endswith("add")
    name, cut, _ = line_of("lists of", lines).partition("…")
    assert cut
    assert name in LONG


@pytest.mark.parametrize("width", WIDTHS)
def test_a_timetable_that_does_not_fit_is_folded_and_whole(run: Run, mixed: Ground, width: int) -> None:
    lines = seen(run, width)
    begin = lines[0].index("when")
    column = "".join(line[begin : lines[0].index("next")].strip() for line in lines[1:-1])
    assert "America/Argentina/Buenos_Aires" in column
    assert "onlastworkingdayat18:00,Europe/Berlin" in column.replace(" ", "")


def test_at_120_columns_tasks_are_whole(run: Run, mixed: Ground) -> None:
    assert line_of("late", seen(run)).endswith(" tests.jobs.add")


@pytest.mark.parametrize(
    ("when", "shown"),
    [
        (Every(0.5), "every 0.5s"),
        (Every(30), "every 30s"),
        (Every(5400, phase=600), "every 1h 30m + 10m"),
        (Every(604_800), "every 7d"),
        (Every(86_400.25), "every 1d 0.25s"),
        (At(datetime(2099, 12, 24, 17, tzinfo=UTC)), "at 2099-12-24 18:00 +01:00"),
        (At(datetime(2099, 7, 24, 17, 0, 5, tzinfo=UTC)), "at 2099-07-24 19:00:05 +02:00"),
        (Cron("0 2 * * *"), "0 2 * * *, Europe/Berlin"),
    ],
)
def test_timetables_are_in_words_of_people(run: Run, ground: Ground, when: Every | At | Cron, shown: str) -> None:
    ground.add(sums("a", when=when, timezone="Europe/Berlin"), since=1)
    assert line_of("a", seen(run)) == f"a {shown} in 59m tests.jobs.add"


def test_utc_is_not_named(run: Run, ground: Ground) -> None:
    ground.add(sums("a", when=Cron("0 2 * * *"), timezone="UTC"), since=1)
    assert line_of("a", seen(run)) == "a 0 2 * * * in 59m tests.jobs.add"


def test_the_next_time_or_why_there_is_none_is_told(run: Run, mixed: Ground) -> None:
    lines = seen(run)
    assert " paused now " in line_of("bill", lines)
    assert " 1h overdue " in line_of("late", lines)
    assert " over tests" in line_of("over", lines)
    assert " not known yet " in line_of("sunset", lines)
    assert " in 59m " in line_of("sprint", lines)


def test_what_is_due_for_seconds_is_not_overdue(run: Run, ground: Ground) -> None:
    ground.add(ground.sums("a"), since=0)
    assert "overdue" not in line_of("a", seen(run))


def test_the_last_line_counts_schedules_and_those_that_are_paused(run: Run, mixed: Ground) -> None:
    a_beat(mixed)
    assert seen(run)[-1] == "8 schedules, 1 paused; 1 beat at work"


def test_a_ledger_without_schedules_says_so(run: Run, ground: Ground) -> None:
    assert seen(run, 200) == ["no schedules; no beat is at work: start one with `celery -A … beat`"]


def test_only_beats_that_were_seen_just_now_are_at_work(run: Run, ground: Ground) -> None:
    a_beat(ground)
    a_beat(ground, timedelta(seconds=10), name="beat-2@web-1")
    a_beat(ground, timedelta(seconds=25), name="beat-3@web-1")
    assert seen(run) == ["no schedules; 2 beats at work"]


def test_without_a_beat_at_work_it_is_told_when_the_last_one_was_seen(run: Run, ground: Ground) -> None:
    ground.add(sums("a"))
    a_beat(ground, timedelta(hours=2, minutes=5))
    a_beat(ground, timedelta(minutes=3, seconds=5), name="beat-2@web-1")
    expected = "1 schedule; no beat is at work (the last one was seen 3m ago): start one with `celery -A … beat`"
    assert seen(run)[-1] == expected


@pytest.mark.parametrize("as_on_a_terminal", [True, False])
def test_what_others_have_written_cannot_operate_the_terminal(run: Run, ground: Ground, as_on_a_terminal: bool) -> None:
    class Owned:
        def is_due(self, last: datetime) -> tuple[bool, float]:
            return False, 60.0

        def __repr__(self) -> str:
            return "\x1b]0;owned\x07\x1b[2J\u202e"

    ground.add(sums("a", task="\x1b]0;owned\x07\x1b[2J\u202e"), since=1)
    ground.add(sums("b", when=Foreign(Owned())), since=None)
    text = "\n".join(seen(run, 200)) if as_on_a_terminal else run(schedules, "list").output
    assert "owned" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


# -- what stands in the way -------------------------------------------------------------------------------------------


def test_a_ledger_that_is_down_is_one_sentence(environment: dict[str, str]) -> None:
    with producer({**environment, "DATABASE_URL": "postgresql://ada:secret@127.0.0.1:1/ledger"}) as app:
        result = run_with(app, schedules, "list")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert "does not answer" in result.stderr
    assert "secret" not in result.stderr


@on_each_database
def test_a_ledger_without_tables_is_told_how_to_get_them(run: Run, ground: Ground) -> None:
    with writing(ground.url) as connection:
        for name in ("fires", "schedules"):
            metadata.tables[name].drop(connection)
    result = run(schedules, "list")
    assert result.exit_code == 1
    assert result.stderr.endswith("run `celery -A workers ledger upgrade`\n")


def test_a_module_that_cannot_be_imported_is_one_sentence(app: PenstockApp, run: Run) -> None:
    app.conf.include = ["tasks.no_such_module"]
    result = run(schedules, "list")
    assert result.exit_code == 1
    assert result.stderr == (
        "penstock: a module of the settings imports or include: No module named 'tasks.no_such_module'; "
        "correct its name\n"
    )


# -- applications that have adopted us --------------------------------------------------------------------------------


def test_an_app_that_has_adopted_the_ledger_is_served(ground: Ground) -> None:
    shop = adopt(Celery("shop", broker=ground.broker_url, set_as_current=False), ledger=ground.url)
    ground.add(sums("theirs"), by="shop")
    assert run_with(shop, schedules, "list").stdout.startswith("theirs\tevery 3600 s\tUTC\t")


def test_an_app_without_a_ledger_is_told_how_to_get_one(broker_url: str) -> None:
    shop = adopt(Celery("shop", broker=broker_url, set_as_current=False))
    result = run_with(shop, schedules, "list")
    assert result.exit_code == 1
    assert result.stderr.startswith("penstock: this command works on the ledger, and the results of this app are not")
