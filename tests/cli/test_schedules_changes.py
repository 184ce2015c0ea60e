"""The verbs of `schedules` that change something: what they take, say, refuse and ask."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.bin.base import CLIContext
from click.testing import CliRunner

from penstock import adopt
from penstock.actor import actor
from penstock.app import PenstockApp
from penstock.cli.schedules import schedules
from penstock.ledger import schedules as rows
from penstock.ledger.fires import FireState, Origin
from penstock.ledger.session import writing
from penstock.scheduler import At, Calendar, Cron, Every, Foreign, Schedule
from tests.cli.conftest import Run, run_with
from tests.conftest import DATABASES, ROOT, NewLedger, producer
from tests.scheduler.ground import NAME, Ground, sums

ADD = "tests.jobs.add"
CALL = ("--kwargs", '{"left": 1, "right": 2}')
OTHERS = (
    ("pause",),
    ("resume",),
    ("trigger",),
    ("remove", "--yes"),
    ("edit", "--every", "5m"),
    ("backfill", "--since", "1d"),
)
on_each_database = pytest.mark.parametrize("database_url", DATABASES, indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, new_ledger: NewLedger) -> Iterator[str]:
    """One database will do where nothing but words is at stake; tests/scheduler has the changes on each."""
    with new_ledger(getattr(request, "param", "sqlite")) as url:
        yield url


@pytest.fixture
def ground(app: PenstockApp) -> Iterator[Ground]:
    """An empty ledger."""
    with Ground(app) as made:
        yield made


def added(run: Run, ground: Ground, *options: str) -> Schedule:
    """The schedule that `add` makes of these options."""
    result = run(schedules, "add", NAME, ADD, *CALL, *options)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return ground.changes.show(NAME).known.schedule


def refused(run: Run, *arguments: str, code: int = 1) -> str:
    """Why a command is refused; nothing is on stdout."""
    result = run(schedules, *arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert "Traceback" not in result.stderr
    return result.stderr


def done(run: Run, *arguments: str) -> str:
    """What a command says that was done."""
    result = run(schedules, *arguments)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def audited(ground: Ground) -> list[tuple[str, str]]:
    """Who did what."""
    return [(row.actor, row.action) for row in ground.audited]


def a_beat(ground: Ground) -> None:
    """A scheduler that looked what is due just now."""
    with writing(ground.url) as connection:
        now = rows.clock(connection)
        rows.note_beat(connection, "beat-1@web-1", now, now)


# -- added: when ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "when"),
    [
        (("--cron", "30 2 * * 1-5"), Cron("30 2 * * 1-5")),
        (("--cron", "@daily"), Cron("@daily")),
        (("--cron", "0 7 13 * FRI", "--both-days"), Cron("0 7 13 * FRI", days="both")),
        (("--every", "30s"), Every(30)),
        (("--every", "0.5"), Every(0.5)),
        (("--every", "2w"), Every(14 * 86400)),
        (("--every", "1h", "--phase", "10m"), Every(3600, phase=600)),
        (("--every", "1h", "--phase", "0s"), Every(3600)),
        (("--calendar", "month"), Calendar("month")),
        (("--calendar", "month", "--on", "last day", "--time", "18:00"), Calendar("month", "last day", "18:00")),
        (("--calendar", "week", "--on", "monday", "--interval", "2"), Calendar("week", "monday", interval=2)),
        (("--once", "2099-12-24T18:00+01:00"), At(datetime(2099, 12, 24, 17, tzinfo=UTC))),
        (("--once", "2099-12-24 18:00"), At(datetime(2099, 12, 24, 18, tzinfo=UTC))),
        (("--once", "2099-12-24T18:00", "--timezone", "Asia/Tokyo"), At(datetime(2099, 12, 24, 9, tzinfo=UTC))),
    ],
)
def test_a_timetable_is_added(run: Run, ground: Ground, options: tuple[str, ...], when: Any) -> None:
    made = added(run, ground, *options)
    assert (made.when, made.task, made.kwargs) == (when, ADD, {"left": 1, "right": 2})


def test_the_first_time_is_told_in_the_schedules_zone(run: Run, ground: Ground) -> None:
    result = run(schedules, "add", NAME, ADD, *CALL, "--once", "2099-07-24T18:00", "--timezone", "Europe/Berlin")
    assert result.stdout == "sums: added; next 2099-07-24 18:00 +02:00\n"


@pytest.mark.parametrize(
    ("local", "instant"),
    [("2099-03-29T02:30", "2099-03-29T01:00:00+00:00"), ("2099-10-25T02:30", "2099-10-25T00:30:00+00:00")],
)
def test_a_moment_that_clocks_jump_over_or_show_twice_is_that_of_a_fixed_time(
    run: Run, ground: Ground, local: str, instant: str
) -> None:
    made = added(run, ground, "--once", local, "--timezone", "Europe/Berlin")
    assert made.when == At(datetime.fromisoformat(instant))


def test_what_is_added_is_noted_with_who_did_it(run: Run, ground: Ground) -> None:
    added(run, ground, "--every", "5m")
    assert audited(ground) == [(actor(), "add schedule")]


def test_json_has_the_row(run: Run, ground: Ground) -> None:
    found = json.loads(done(run, "add", NAME, ADD, *CALL, "--every", "5m", "--json"))
    assert (found["name"], found["declared_by"], found["version"]) == (NAME, None, 1)
    assert found["definition"]["when"] == {"kind": "interval", "seconds": 300.0}


# -- added: rules and job ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (("--overlap", "buffer one"), {"overlap": "buffer one"}),
        (("--catch-up", "none"), {"catch_up": "none"}),
        (("--catch-up", "2h"), {"catch_up": timedelta(hours=2)}),
        (("--dst", "literal"), {"dst": "literal"}),
        (("--jitter", "90s"), {"jitter": 90.0}),
        (("--timezone", "Asia/Tokyo"), {"timezone": "Asia/Tokyo"}),
        (("--start", "2030-01-01", "--end", "2031-01-01T06:00+01:00"),
         {"start": datetime(2030, 1, 1, tzinfo=UTC), "end": datetime(2031, 1, 1, 5, tzinfo=UTC)}),
        (("--start", "2030-01-01", "--timezone", "Asia/Tokyo"), {"start": datetime(2029, 12, 31, 15, tzinfo=UTC)}),
        (("--max-fires", "3", "--pause-after-failures", "2"), {"max_fires": 3, "pause_after_failures": 2}),
        (("--exclude", "2030-12-24", "--exclude", "2030-12-25"), {"exclude": (date(2030, 12, 24), date(2030, 12, 25))}),
        (("--tag", "net", "--tag", "slow"), {"tags": ("net", "slow")}),
        (("--on-missed", "tests.scheduler.hear"), {"on_missed": "tests.scheduler.hear"}),
        (("--queue", "mail", "--priority", "8", "--expires", "5m"),
         {"options": {"queue": "mail", "priority": 8, "expires": 300.0}}),
    ],
)  # fmt: skip
def test_rules_and_options_of_the_job_are_added(
    run: Run, ground: Ground, options: tuple[str, ...], fields: dict[str, Any]
) -> None:
    made = added(run, ground, "--every", "5m", *options)
    assert {name: getattr(made, name) for name in fields} == fields


def test_without_rules_a_schedule_is_as_usual_and_in_the_apps_zone(run: Run, ground: Ground) -> None:
    ground.app.conf.timezone = "Asia/Tokyo"
    made = added(run, ground, "--every", "5m")
    assert made == sums(NAME, when=Every(300), timezone="Asia/Tokyo")


def test_positional_arguments_are_an_array(run: Run, ground: Ground) -> None:
    assert run(schedules, "add", NAME, ADD, "--args", "[1, 2]", "--every", "5m").exit_code == 0
    assert ground.changes.show(NAME).known.schedule.args == (1, 2)


@on_each_database
@pytest.mark.parametrize("text", ["\x00", "\ud800", "日本語", "\x1b[2J"])
def test_any_text_may_be_an_argument_and_operates_no_terminal(run: Run, ground: Ground, text: str) -> None:
    call = json.dumps({"value": text})
    done(run, "add", NAME, "tests.jobs.echo", "--kwargs", call, "--every", "1h")
    assert ground.changes.show(NAME).known.schedule.kwargs == {"value": text}
    assert f"value={text!r}".encode("utf-8", "replace").decode() in run(schedules, "show", NAME).stdout


# -- what cannot be added ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "give a timetable: --cron, --every, --calendar or --once"),
        (("--tag", "x"), "give a timetable: --cron, --every, --calendar or --once"),
        (("--cron", "@daily", "--every", "5m"), "--cron and --every: give one timetable"),
        (("--calendar", "day", "--once", "2099-01-01"), "--calendar and --once: give one timetable"),
        (("--every", "5m", "--both-days"), "--both-days goes with --cron"),
        (("--cron", "@daily", "--phase", "0s"), "--phase goes with --every"),
        (("--on", "monday"), "--on goes with --calendar"),
        (("--every", "5m", "--time", "09:30"), "--time goes with --calendar"),
        (("--every", "5m", "--interval", "1"), "--interval goes with --calendar"),
        (("--every", "5 minutes"), "'5 minutes' is no length of time such as 30s, 5m, 2h or 7d"),
        (("--every", "99999999999w"), "'99999999999w' is too long"),
        (("--once", "tomorrow"), "'tomorrow' is no time such as 2026-12-24T18:00"),
        (("--every", "5m", "--start", "24.12."), "'24.12.' is no time such as"),
        (("--every", "5m", "--exclude", "24.12."), "'24.12.' is no day such as 2026-12-24"),
        (("--every", "5m", "--catch-up", "never"), "'never' is none of none, latest, all, and no length of time"),
        (("--every", "5m", "--overlap", "queue"), "'queue' is not one of 'skip', 'buffer one'"),
        (("--every", "5m", "--max-fires", "0"), "0 is not in the range"),
        (("--every", "5m", "--priority", "10"), "10 is not in the range"),
        (("--cron", ""), "is empty"),
    ],
)
def test_wrong_usage_is_refused_with_what_is_right(
    run: Run, ground: Ground, options: tuple[str, ...], sentence: str
) -> None:
    assert sentence in refused(run, "add", NAME, ADD, *CALL, *options, code=2)
    assert (ground.names, ground.audited) == ([], [])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--cron", "* *"), "cron '* *': five fields, e.g. '30 2 * * *'"),
        (("--cron", "61 * * * *"), "cron '61 * * * *': Bad minute; five fields"),
        (("--cron", "@reboot"), "enqueue the job when your service starts"),
        (("--every", "0"), "every 0.0 seconds: a number, 0.01 or more"),
        (("--every", "5m", "--phase", "5m"), "phase=300.0: seconds, from 0 to less than the interval"),
        (("--calendar", "week", "--on", "mond"), "a week has 'monday, thursday'"),
        (("--calendar", "day", "--time", "9:30"), "hour and minute, such as 09:30"),
        (("--once", "2020-01-01"), "'sums' would never fire: all its times have passed"),
        (("--every", "5m", "--end", "2020-01-01"), "'sums' would never fire: all its times have passed"),
        (("--every", "5m", "--start", "2099-01-02", "--end", "2099-01-01"), "which is not before"),
        (("--once", "0001-01-01"), "0001-01-01T00:00:00: this year is out of all bounds; correct it"),
        (("--every", "5m", "--end", "9999-12-31T23:59-12:00"), "this year is out of all bounds; correct it"),
        (("--every", "5m", "--timezone", "Europe/Berln"), "no time zone 'Europe/Berln'; did you mean Europe/Berlin?"),
        (("--once", "2099-01-01", "--timezone", "Europe/Berln"), "'Europe/Berln'; did you mean Europe/Berlin?"),
        (("--every", "5m", "--start", "2099-01-01", "--timezone", "Mars"), "write it as Europe/Berlin, or UTC"),
        (("--every", "5m", "--jitter", "2d"), "seconds, from 0 to 86400"),
        (("--every", "5m", "--on-missed", "tests.scheduler.hera"), "did you mean tests.scheduler.hear?"),
        (("--every", "5m", "--args", "["), "--args '[' is no JSON ("),
        (("--every", "5m", "--args", "["), "); give an array, such as '[1, \"two\"]'"),
        (("--every", "5m", "--args", "{}"), "--args '{}': give an array, such as"),
        (("--every", "5m", "--args", "[" * 100_000), "is no JSON ("),
        (("--every", "5m", "--kwargs", "[]"), "--kwargs '[]': give an object, such as '{\"url\": \"…\"}'"),
        (("--every", "5m", "--kwargs", '{"left": 1}'), "missing a required argument: 'right'"),
        (("--every", "5m", "--kwargs", '{"left": NaN, "right": 1}'), "argument 'left'"),
        (
            ("--every", "5m", "--kwargs", '{"left": "{firetime}", "right": 1}'),
            "write {fire_time} or {previous_fire_time}",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_remedy(
    run: Run, ground: Ground, options: tuple[str, ...], sentence: str
) -> None:
    said = refused(run, "add", NAME, ADD, *CALL, *options)
    assert said.startswith("penstock: ")
    assert sentence in said
    assert (ground.names, ground.audited) == ([], [])


def test_a_task_that_is_misspelt_is_refused_with_a_suggestion(run: Run, ground: Ground) -> None:
    said = refused(run, "add", NAME, "tests.jobs.ad", "--every", "5m")
    assert said == "penstock: there is no task 'tests.jobs.ad' here; did you mean tests.jobs.add?\n"


def test_a_task_of_another_app_is_to_be_added_there(run: Run, ground: Ground) -> None:
    said = refused(run, "add", NAME, "zzz", "--every", "5m")
    assert said == "penstock: there is no task 'zzz' here; name the app that has it: celery -A …\n"


def test_a_name_that_is_there_is_refused(run: Run, ground: Ground) -> None:
    ground.add(ground.sums())
    assert "there is a schedule 'sums' already; edit it" in refused(run, "add", NAME, ADD, *CALL, "--every", "5m")


@pytest.mark.parametrize("name", ["", " ", "\x1b[2J", "a\nb", "\u202e"])
def test_a_name_that_cannot_be_shown_is_wrong_usage(run: Run, ground: Ground, name: str) -> None:
    said = refused(run, "add", name, ADD, *CALL, "--every", "5m", code=2)
    assert not {"\x1b", "\u202e"} & set(said)


def test_a_name_with_blanks_at_its_ends_is_refused(run: Run, ground: Ground) -> None:
    assert "a text without spaces at its ends" in refused(run, "add", " a", ADD, *CALL, "--every", "5m")


# -- edited -----------------------------------------------------------------------------------------------------------


def test_what_is_named_is_changed_and_the_rest_stays(run: Run, ground: Ground) -> None:
    ground.add(sums(tags=("x",), jitter=5, options={"queue": "mail"}), since=None)
    said = done(
        run,
        "edit",
        NAME,
        "--every",
        "10m",
        "--overlap",
        "allow",
        "--priority",
        "8",
        "--args",
        "[1]",
        "--kwargs",
        '{"right": 3}',
    )
    assert re.fullmatch(r"sums: changed; next \d{4}-\d\d-\d\d \d\d:\d0 UTC\n", said)
    expected = sums(
        tags=("x",),
        jitter=5,
        when=Every(600),
        overlap="allow",
        options={"queue": "mail", "priority": 8},
        args=(1,),
        kwargs={"right": 3},
    )
    assert ground.changes.show(NAME).known.schedule == expected
    assert audited(ground) == [(actor(), "edit schedule")]


@pytest.mark.parametrize(
    ("rule", "field", "value"),
    [
        ("start", "start", datetime(2020, 1, 1, tzinfo=UTC)),
        ("end", "end", datetime(2099, 1, 1, tzinfo=UTC)),
        ("max-fires", "max_fires", 3),
        ("exclude", "exclude", (date(2030, 12, 24),)),
        ("pause-after-failures", "pause_after_failures", 2),
        ("tag", "tags", ("x",)),
        ("on-missed", "on_missed", "tests.scheduler.hear"),
        ("jitter", "jitter", 5),
    ],
)
def test_a_rule_is_taken_away(run: Run, ground: Ground, rule: str, field: str, value: Any) -> None:
    ground.add(ground.sums(**{field: value}), since=1)
    done(run, "edit", NAME, "--clear", rule)
    assert ground.changes.show(NAME).known.schedule == ground.sums()


def test_options_of_the_job_are_taken_away(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(options={"queue": "mail", "priority": 8, "expires": 60.0}), since=1)
    done(run, "edit", NAME, "--clear", "queue", "--clear", "expires", "--priority", "7")
    assert ground.changes.show(NAME).known.schedule.options == {"priority": 7}


@pytest.mark.parametrize(
    ("option", "value"), [("jitter", "5s"), ("tag", "x"), ("queue", "mail"), ("start", "2030-01-01")]
)
def test_what_is_given_cannot_be_taken_away_as_well(run: Run, ground: Ground, option: str, value: str) -> None:
    ground.add(ground.sums())
    said = refused(run, "edit", NAME, f"--{option}", value, "--clear", option, code=2)
    assert f"--{option} and --clear {option}: give one of them" in said


def test_times_without_an_offset_are_those_of_the_schedules_own_zone(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(timezone="Asia/Tokyo"))
    done(run, "edit", NAME, "--once", "2099-01-01T09:00")
    assert ground.changes.show(NAME).known.schedule.when == At(datetime(2099, 1, 1, tzinfo=UTC))


def test_one_that_has_no_time_left_says_so(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    assert done(run, "edit", NAME, "--once", "2020-01-01") == "sums: changed; nothing is planned any more\n"


def test_one_that_is_paused_stays_so_and_says_so(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    ground.changes.pause(NAME)
    assert done(run, "edit", NAME, "--tag", "x") == "sums: changed; it is paused\n"


def test_an_edit_without_a_change_is_wrong_usage(run: Run, ground: Ground) -> None:
    ground.add(ground.sums())
    assert "name what is to change; --help lists it" in refused(run, "edit", NAME, code=2)


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--phase", "5m"), 2, "--phase goes with --every"),
        (("--clear", "overlap"), 2, "'overlap' is not one of 'start'"),
        (("--kwargs", '{"left": 1}'), 1, "right"),
        (("--on-missed", "tests.scheduler.hera"), 1, "did you mean tests.scheduler.hear?"),
        (("--timezone", "Europe/Berln"), 1, "did you mean Europe/Berlin?"),
    ],
)
def test_an_edit_that_makes_no_sense_changes_nothing(
    run: Run, ground: Ground, options: tuple[str, ...], code: int, sentence: str
) -> None:
    ground.add(ground.sums(), since=1)
    before = ground.row()
    assert sentence in refused(run, "edit", NAME, *options, code=code)
    assert (ground.row(), ground.audited) == (before, [])


@pytest.mark.parametrize(
    ("verb", "what"),
    [(("edit", "--every", "5m"), "edited"), (("remove", "--yes"), "removed"), (("remove",), "removed")],
)
def test_a_declared_schedule_is_changed_in_the_code(run: Run, ground: Ground, verb: tuple[str, ...], what: str) -> None:
    ground.add(ground.sums(), by="shop", since=1)
    before = ground.row()
    said = refused(run, *verb, NAME)
    assert f"is declared by 'shop' and cannot be {what} here: change its declaration" in said
    assert "it can be paused, resumed, triggered and backfilled" in said
    assert ground.row() == before


# -- paused and resumed -----------------------------------------------------------------------------------------------


def test_a_pause_says_how_it_is_ended(run: Run, ground: Ground) -> None:
    ground.add(ground.sums("nightly sales"), by="shop")
    said = done(run, "pause", "nightly sales", "--note", "stocktaking")
    assert said == "nightly sales: paused; its planned times are skipped until `schedules resume 'nightly sales'`\n"
    row = ground.row("nightly sales")
    assert (row.paused_by, row.pause_note) == (actor(), "stocktaking")
    assert audited(ground) == [(actor(), "pause schedule")]


def test_a_second_pause_says_who_was_first(run: Run, ground: Ground) -> None:
    ground.add(ground.sums())
    ground.changes.pause(NAME)
    assert refused(run, "pause", NAME) == "penstock: schedule 'sums' has been paused by ada already\n"


@pytest.mark.parametrize("note", ["", "\x1b[2J", "two\nlines"])
def test_a_note_that_cannot_be_shown_is_wrong_usage(run: Run, ground: Ground, note: str) -> None:
    ground.add(ground.sums())
    refused(run, "pause", NAME, "--note", note, code=2)
    assert ground.row().paused_at is None


def test_a_resumed_schedule_tells_its_next_time(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(when=At(datetime(2099, 1, 1, tzinfo=UTC))), since=None)
    ground.changes.pause(NAME)
    assert done(run, "resume", NAME) == "sums: resumed; next 2099-01-01 00:00 UTC\n"
    assert ground.row().paused_at is None


def test_one_whose_times_are_known_elsewhere_is_resumed_all_the_same(run: Run, ground: Ground) -> None:
    ground.add(sums(when=Foreign(None, "odd")), since=1, by="shop")
    ground.changes.pause(NAME)
    assert done(run, "resume", NAME) == "sums: resumed\n"


def test_what_is_not_paused_is_not_resumed(run: Run, ground: Ground) -> None:
    ground.add(ground.sums())
    assert refused(run, "resume", NAME) == "penstock: schedule 'sums' is not paused\n"


def test_pause_and_resume_have_the_row_as_json(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    assert json.loads(done(run, "pause", NAME, "--json"))["paused_by"] == actor()
    assert json.loads(done(run, "resume", NAME, "--json"))["paused_by"] is None


# -- triggered --------------------------------------------------------------------------------------------------------


def test_a_trigger_tells_the_job(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=1, by="shop")
    said = done(run, "trigger", NAME)
    (message,) = ground.messages
    assert said == f"sums: job {message.headers['id']}\n"
    assert [row.job_id for row in ground.audited] == [message.headers["id"]]


def test_a_trigger_has_the_fire_as_json(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    found = json.loads(done(run, "trigger", NAME, "--json"))
    (message,) = ground.messages
    expected = {"schedule": NAME, "origin": "triggered", "state": "fired", "job_id": message.headers["id"]}
    assert found.items() >= expected.items()


def test_a_trigger_of_a_call_that_no_longer_fits_is_refused(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(kwargs={"left": 1}), since=1)
    assert "right" in refused(run, "trigger", NAME)
    assert ground.fires() == []


# -- made up for ------------------------------------------------------------------------------------------------------


def hours_ago(ground: Ground, number: int) -> str:
    return ground.hour(-number).isoformat()


def test_past_times_wait_for_their_turn(run: Run, ground: Ground) -> None:
    a_beat(ground)
    ground.add(ground.sums(), since=1)
    said = done(run, "backfill", NAME, "--since", hours_ago(ground, 2))
    assert said == "sums: 3 fires waiting, each for the end of the one before\n"
    assert ground.states() == ["waiting"] * 3


def test_without_a_beat_at_work_it_is_told_that_they_wait_for_one(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    result = run(schedules, "backfill", NAME, "--since", hours_ago(ground, 2))
    assert result.exit_code == 0
    assert result.stderr == "penstock: no beat is at work that would start them: start one with `celery -A … beat`\n"


def test_past_times_start_together_if_that_is_wanted(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    said = done(run, "backfill", NAME, "--since", hours_ago(ground, 2), "--until", hours_ago(ground, 1), "--at-once")
    assert said == "sums: 2 jobs started\n"
    assert (ground.states(), len(ground.messages)) == (["fired", "fired"], 2)


def test_what_was_made_up_for_is_left_alone_the_second_time(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    command = ("backfill", NAME, "--since", hours_ago(ground, 1), "--at-once")
    done(run, *command)
    assert done(run, *command) == "sums: 2 planned times started or waiting already\n"
    assert len(ground.messages) == 2


def test_a_range_without_planned_times_says_so(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    since, until = (ground.last - timedelta(minutes=number) for number in (20, 10))
    said = done(run, "backfill", NAME, "--since", since.isoformat(), "--until", until.isoformat())
    assert said == "sums: nothing was planned then\n"


def test_an_age_is_as_good_as_a_time(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    assert done(run, "backfill", NAME, "--since", "121m", "--until", "59m", "--at-once") == "sums: 2 jobs started\n"


def test_a_time_without_an_offset_is_read_in_the_apps_zone(run: Run, ground: Ground) -> None:
    ground.app.conf.timezone = "Asia/Tokyo"
    ground.add(sums(when=Every(3600)), since=1)
    found = json.loads(
        done(run, "backfill", NAME, "--since", "2020-01-01T09:00", "--until", "2020-01-01T09:59", "--at-once", "--json")
    )
    assert found == {"started": ["2020-01-01T00:00:00+00:00"], "waiting": [], "kept": 0}


def test_json_has_the_times_that_wait_and_how_many_were_left_alone(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    ground.insert(ground.fire(-1), ground.fire(-2, FireState.MISSED))
    found = json.loads(done(run, "backfill", NAME, "--since", hours_ago(ground, 2), "--json"))
    assert found == {"started": [], "waiting": [ground.hour(number).isoformat() for number in (-2, 0)], "kept": 1}
    assert [fire.origin for fire in ground.fires()] == [Origin.BACKFILLED, Origin.PLANNED, Origin.BACKFILLED]


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ((), 2, "Missing option '--since'"),
        (("--since", "yesterday"), 2, "neither an age"),
        (("--since", "1h", "--until", "2h"), 2, "--until comes before --since"),
        (("--since", "0002-01-01"), 1, "these are more than 1,000 fires; backfill a shorter range"),
        (("--since", "0001-01-01"), 2, "neither an age"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(
    run: Run, ground: Ground, options: tuple[str, ...], code: int, sentence: str
) -> None:
    ground.add(ground.sums(), since=1)
    assert sentence in refused(run, "backfill", NAME, *options, code=code)
    assert (ground.fires(), ground.audited) == ([], [])


# -- removed ----------------------------------------------------------------------------------------------------------


def asked(ground: Ground, answer: str, *options: str) -> Any:
    """`remove`, by somebody who answers."""
    context = CLIContext(app=ground.app, no_color=False, workdir=None)
    return CliRunner().invoke(schedules, ["remove", NAME, *options], obj=context, input=answer)


def test_a_removal_asks_and_takes_no_for_an_answer(ground: Ground) -> None:
    ground.add(sums(), since=1)
    result = asked(ground, "n\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Remove schedule 'sums' (every 1h → tests.jobs.add)? [y/N]: " in result.stderr
    assert (ground.names, ground.audited) == ([NAME], [])


def test_a_removal_that_is_wanted_is_done_and_the_fires_stay(ground: Ground) -> None:
    ground.add(sums(), since=1)
    ground.insert(ground.fire(-1))
    result = asked(ground, "y\n")
    assert (result.exit_code, result.stdout) == (0, "sums: removed; its fires stay on the books\n")
    assert (ground.names, ground.states()) == ([], ["fired"])
    assert audited(ground) == [(actor(), "remove schedule")]


def test_a_removal_need_not_ask(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    assert json.loads(done(run, "remove", NAME, "--yes", "--json"))["name"] == NAME
    assert ground.names == []


def test_the_question_is_no_part_of_the_json(ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    assert json.loads(asked(ground, "y\n", "--json").stdout)["name"] == NAME


def test_the_question_cannot_operate_the_terminal(ground: Ground) -> None:
    ground.add(sums(when=Foreign(None, "\x1b]0;odd\x07"), task="\x1b]0;owned\x07"), since=1)
    said = asked(ground, "n\n").stderr
    assert "owned" in said
    assert "\x1b" not in said


# -- whatever is done -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", OTHERS, ids=lambda verb: verb[0])
def test_a_schedule_that_nobody_knows_is_refused_with_a_suggestion(
    run: Run, ground: Ground, verb: tuple[str, ...]
) -> None:
    ground.add(ground.sums("nightly sales"))
    said = refused(run, *verb, "nightly sale")
    assert said == "penstock: there is no schedule 'nightly sale'; did you mean 'nightly sales'?\n"
    assert ground.audited == []


@pytest.mark.parametrize("verb", [*OTHERS, ("add", ADD, *CALL, "--every", "5m")], ids=lambda verb: verb[0])
def test_a_ledger_that_is_down_is_one_sentence(environment: dict[str, str], verb: tuple[str, ...]) -> None:
    name, *rest = verb
    with producer({**environment, "DATABASE_URL": "postgresql://ada:secret@127.0.0.1:1/ledger"}) as app:
        result = run_with(app, schedules, name, NAME, *rest)
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert "does not answer" in result.stderr
    assert "secret" not in result.stderr


def test_an_app_that_has_adopted_the_ledger_changes_its_schedules(ground: Ground) -> None:
    shop = adopt(Celery("shop", broker=ground.broker_url, set_as_current=False), ledger=ground.url)
    shop.conf.timezone = "Asia/Tokyo"

    @shop.task(name="shop.close")
    def close() -> None:
        """A task of a plain Celery app."""

    once = ("add", NAME, "shop.close", "--once", "2099-01-01T09:00")
    assert run_with(shop, schedules, *once).stdout == "sums: added; next 2099-01-01 09:00 +09:00\n"
    assert ground.changes.show(NAME).known.schedule.when == At(datetime(2099, 1, 1, tzinfo=UTC))
    for verb in (("pause",), ("resume",), ("edit", "--calendar", "day"), ("trigger",), ("remove", "--yes")):
        result = run_with(shop, schedules, *verb, NAME)
        assert (result.exit_code, result.stderr) == (0, "")
    assert [message.headers["task"] for message in ground.messages] == ["shop.close"]


# -- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", sorted(schedules.commands))
def test_help_fits_80_columns_and_has_an_example(verb: str) -> None:
    text = run_with(None, schedules, verb, "--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "celery -A workers schedules" in text


def test_the_help_of_the_noun_cuts_no_sentence_short() -> None:
    text = run_with(None, schedules, "--help").stdout
    assert "Exit code: 0" in text
    assert "..." not in text.partition("Commands:")[2]


@pytest.mark.parametrize("verb", ["add", "edit"])
def test_the_many_options_stand_under_headings(verb: str) -> None:
    text = run_with(None, schedules, verb, "--help").stdout
    assert re.findall(r"^(\w+):$", text, re.MULTILINE) == ["Job", "When", "Rules", "Options"]


def test_the_page_of_commands_knows_every_verb_and_option() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    for verb in schedules.commands.values():
        assert f"schedules {verb.name} " in page or f"`… {verb.name} " in page
        missing = [name for param in verb.params for name in param.opts if name.startswith("--") and name not in page]
        assert missing == []


def test_importing_the_commands_loads_nothing_heavy() -> None:
    """Celery loads them with each of its own, in every project."""
    code = "import penstock.cli.schedules, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"celery", "kombu", "redis", "sqlalchemy", "rich"}.isdisjoint(loaded)
