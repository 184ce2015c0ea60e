"""`schedules show` and `schedules next`: one schedule whole, and what comes next of several."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from celery import Celery
from rich.cells import cell_len
from sqlalchemy import insert

from penstock import adopt
from penstock.actor import actor
from penstock.app import PenstockApp
from penstock.cli.schedules import schedules
from penstock.ledger.fires import FireState, Origin
from penstock.ledger.session import writing
from penstock.ledger.tables import outbox
from penstock.scheduler import At, Cron, Every, Foreign
from tests.cli.conftest import Run, run_with
from tests.conftest import NewLedger, producer
from tests.scheduler.ground import NAME, Ground, foreign, sums

FIRED, WAITING, SKIPPED, MISSED = FireState.FIRED, FireState.WAITING, FireState.SKIPPED, FireState.MISSED
JOB = "8c7caa97-a1d6-4b4c-9c8c-1d7f0f6a2f01"
WIDTHS = [80, 120, 200]
BERLIN = "Europe/Berlin"
QUARTERS = sums("quarters", when=Every(900), timezone=BERLIN)
NIGHTS = sums("nights", when=Cron("30 2 * * *"), timezone=BERLIN)


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str]:
    """One database will do: the statements are tested on each in tests/scheduler."""
    with new_ledger("sqlite") as url:
        yield url


@pytest.fixture
def ground(app: PenstockApp) -> Iterator[Ground]:
    """An empty ledger."""
    with Ground(app) as made:
        yield made


def shown(run: Run, *arguments: str) -> str:
    """What a command prints; there is nothing to complain about."""
    result = run(schedules, *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def facts(text: str) -> dict[str, str]:
    """The head of `show`: what stands behind each label."""
    lines = text.partition("\n\n")[0].splitlines()[1:]
    return {label: value for label, _, value in (line.strip().partition("  ") for line in lines) if value}


def on_a_terminal(run: Run, *arguments: str, width: int = 120) -> list[str]:
    """The lines that a terminal of this width shows, without colours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORCE_COLOR", "1")
        patch.setenv("TERM", "xterm-256color")
        patch.setenv("COLUMNS", str(width))
        text = shown(run, *arguments)
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]


# -- the head of a portrait -------------------------------------------------------------------------------------------


def test_a_schedule_is_shown_with_its_rules(run: Run, ground: Ground) -> None:
    ground.app.conf.timezone = BERLIN
    made = sums(
        overlap="buffer one",
        catch_up=timedelta(minutes=90),
        dst="literal",
        jitter=90.0,
        start=datetime(2026, 12, 1, 8, tzinfo=UTC),
        max_fires=12,
        exclude=tuple(date(2026, 12, day) for day in range(24, 32)),
        pause_after_failures=3,
        on_missed="tests.scheduler.hear",
        options={"queue": "mail", "priority": 8},
        tags=("net", "slow"),
        timezone=BERLIN,
    )
    ground.add(made, since=1)
    text = shown(run, "show", NAME)
    assert text.splitlines()[0] == "sums → tests.jobs.add"
    found = {label: value.strip() for label, value in facts(text).items()}
    assert found["when"] == "every 1h"
    assert found["call"] == "left=1, right=2"
    assert found["rules"].split("; ") == [
        "overlap buffer one",
        "catch up 1h 30m",
        "dst literal",
        "jitter 1m 30s",
        "start 2026-12-01 09:00 +01:00",
        "max fires 12",
        "pause after failures 3",
        "on missed tests.scheduler.hear",
        "not on 2026-12-24, 2026-12-25, 2026-12-26, 2026-12-27, 2026-12-28 and 3 more days",
        "queue mail",
        "priority 8",
    ]
    assert found["tags"] == "net, slow"
    assert found["added"] == "at run time, now"


def test_a_declared_one_names_its_application(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), by="shop")
    assert facts(shown(run, "show", NAME))["declared"] == "by shop"


def test_a_pause_is_shown_with_who_and_why(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    run(schedules, "pause", NAME, "--note", "the API is down")
    text = shown(run, "show", NAME)
    assert f"  paused  now by {actor()}: the API is down\n" in text
    assert "\nnext  skipped until it is resumed\n" in text


def test_jobs_that_have_not_ended_are_named(run: Run, ground: Ground) -> None:
    ground.add(ground.sums())
    ground.insert(*(ground.fire(number, is_followed=True) for number in range(-7, 0)))
    row = {"task": "t", "queue": "web", "step": 0, "payload": b"{}", "created_at": ground.last}
    with writing(ground.url) as connection:
        ids = [f"sums {number}" for number in range(-7, 0)]
        connection.execute(insert(outbox).values([{**row, "key": id, "job_id": id} for id in ids]))
    assert facts(shown(run, "show", NAME))["open"].strip() == f"jobs {', '.join(ids[:5])} and 2 more"


def test_failures_in_a_row_are_counted(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(pause_after_failures=5), failures=2)
    assert facts(shown(run, "show", NAME))["failures"] == "2 in a row"


def test_nights_that_lose_or_double_a_fire_are_named(run: Run, ground: Ground) -> None:
    ground.add(sums(NAME, when=Cron("30 2 * * *"), timezone=BERLIN, dst="literal"), since=1)
    clocks = shown(run, "show", NAME).partition("  clocks ")[2].partition("\n\n")[0]
    assert {line.strip()[12:] for line in clocks.splitlines()} == {"02:30 does not come", "02:30 comes twice"}


# -- what comes next in a portrait ------------------------------------------------------------------------------------


def test_the_next_five_times_are_shown_in_the_schedules_zone(run: Run, ground: Ground) -> None:
    ground.add(sums(NAME, when=Cron("30 12 * * *"), timezone=BERLIN), since=None)
    lines = shown(run, "show", NAME).partition("\n\n")[2].partition("\n\n")[0].splitlines()
    assert [
        bool(re.fullmatch(r"(next|    )  \w{3} \d{4}-\d\d-\d\d 12:30 \+0[12]:00  in \w+", line)) for line in lines
    ] == ([True] * 5)


def test_seconds_are_shown_for_all_or_for_none(run: Run, ground: Ground) -> None:
    ground.add(sums("a", when=Every(30)), sums("b", when=Every(120)), since=None)
    assert len(re.findall(r"\d\d:\d\d:\d\d UTC", shown(run, "show", "a"))) == 5
    assert re.findall(r"\d\d:\d\d:\d\d UTC", shown(run, "show", "b")) == []


def test_a_fire_that_was_triggered_brings_no_seconds_to_the_others(run: Run, ground: Ground) -> None:
    hour = datetime(2026, 11, 28, 9, tzinfo=UTC)
    ground.add(sums(when=Every(3600)), since=1)
    triggered = ground.fire(0, planned_at=hour + timedelta(seconds=7, microseconds=5), origin=Origin.TRIGGERED)
    ground.insert(ground.fire(0, planned_at=hour), triggered)
    assert re.findall(r"Sat 2026-11-28 (.*) UTC  fired ", shown(run, "show", NAME)) == ["09:00", "09:00"]


def test_a_time_that_nobody_has_decided_on_is_overdue(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=-2)
    assert re.search(r"^next  .* UTC  2h overdue\n .* UTC  1h ago\n", shown(run, "show", NAME), re.MULTILINE)


def test_a_schedule_that_is_over_says_so(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=None, planned_at=None, due_at=None)
    assert "\nnext  over\n" in shown(run, "show", NAME)


def test_times_that_only_another_application_knows_are_no_obstacle(run: Run, ground: Ground) -> None:
    ground.add(foreign(), since=1, by="shop")
    text = shown(run, "show", NAME)
    assert "\nnext  in 59m; odd: 3600 s is known only where it is declared\n" in text
    assert json.loads(shown(run, "show", NAME, "--json"))["next"] == []


def test_an_object_that_cannot_be_asked_is_no_obstacle(run: Run, ground: Ground) -> None:
    def fail() -> None:
        raise OSError("no such\nplanet")

    broken = foreign(also=fail)
    ground.app.schedules = (broken,)
    ground.add(broken, since=1)
    assert "\nnext  in 59m; it cannot say when it is due: OSError: no such planet\n" in shown(run, "show", NAME)


# -- what has become of planned times ---------------------------------------------------------------------------------


@pytest.fixture
def eventful(ground: Ground) -> Ground:
    """A schedule of which everything has become once."""
    ground.add(ground.sums(), since=1)
    late = {"decided_at": ground.hour(-2) + timedelta(seconds=42.5)}
    ground.insert(
        ground.fire(-1, job_id=JOB),
        ground.fire(-2, job_id=JOB[:-1] + "2", **late),
        ground.fire(-3, SKIPPED, reason="overlap: a job of this schedule has not ended"),
        ground.fire(-4, MISSED, reason="no scheduler was up until 1:12:33 later, and a newer one was due"),
        ground.fire(-5, WAITING, origin=Origin.BACKFILLED, reason="backfill: it starts when the one before has ended"),
        ground.fire(-6, job_id=JOB[:-1] + "6", origin=Origin.TRIGGERED),
    )
    return ground


def fires(text: str) -> list[str]:
    """The last part of `show`: its heading, and each fire from its state on."""
    heading, *lines = text.rpartition("\n\n")[2].splitlines()
    return [heading, *(" ".join(line.partition(" UTC ")[2].split()) for line in lines)]


def test_each_fire_has_its_job_or_the_reason_for_none(run: Run, eventful: Ground) -> None:
    assert fires(shown(run, "show", NAME)) == [
        "fires  3 fired, 1 waiting, 1 skipped, 1 missed",
        f"fired job {JOB}",
        f"fired job {JOB[:-1]}2 (42.5s late)",
        "skipped overlap: a job of this schedule has not ended",
        "missed no scheduler was up until 1:12:33 later, and a newer one was due",
        "waiting backfill: it starts when the one before has ended",
        f"fired job {JOB[:-1]}6 (triggered)",
    ]


def test_only_so_many_fires_are_shown_and_all_are_counted(run: Run, eventful: Ground) -> None:
    assert fires(shown(run, "show", NAME, "--fires", "1"))[1:] == [f"fired job {JOB}"]
    assert fires(shown(run, "show", NAME, "--fires", "0")) == ["fires  3 fired, 1 waiting, 1 skipped, 1 missed"]


@pytest.mark.parametrize(("state", "count"), [("fired", 3), ("waiting", 1), ("skipped", 1), ("missed", 1)])
def test_only_fires_in_one_state_are_shown(run: Run, eventful: Ground, state: str, count: int) -> None:
    assert [line.split()[0] for line in fires(shown(run, "show", NAME, "--state", state))[1:]] == [state] * count


def test_a_schedule_that_has_never_fired_says_so(run: Run, ground: Ground) -> None:
    ground.add(ground.sums())
    assert fires(shown(run, "show", NAME)) == ["fires  none so far"]


def test_json_has_everything(run: Run, eventful: Ground) -> None:
    found = json.loads(shown(run, "show", NAME, "--json"))
    assert set(found) == {"schedule", "next", "fires", "counts", "open_jobs", "oddities"}
    assert found["schedule"]["name"] == NAME
    assert found["next"] == [eventful.hour(number).isoformat() for number in range(1, 6)]
    assert found["counts"] == {"fired": 3, "missed": 1, "skipped": 1, "waiting": 1}
    assert found["open_jobs"] == found["oddities"] == []
    assert set(found["fires"][0]) == {
        "schedule", "planned_at", "origin", "state", "reason", "job_id", "decided_at", "is_followed",
    }  # fmt: skip
    assert (found["fires"][5]["origin"], found["fires"][5]["job_id"]) == ("triggered", JOB[:-1] + "6")


def test_json_has_times_in_utc_and_the_days_on_which_clocks_are_odd(run: Run, ground: Ground) -> None:
    ground.add(sums(NAME, when=Cron("30 2 * * *"), timezone=BERLIN, dst="literal"), since=None)
    found = json.loads(shown(run, "show", NAME, "--json"))
    assert all(time.endswith("+00:00") for time in found["next"])
    assert set(found["oddities"][0]) == {"day", "text"}


# -- one that was removed ---------------------------------------------------------------------------------------------


def test_of_a_schedule_that_was_removed_the_fires_are_shown(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    ground.insert(ground.fire(-1, job_id=JOB), ground.fire(-2, MISSED, reason="no scheduler was up"))
    before = shown(run, "show", NAME).partition("\nfires ")[2]
    run(schedules, "remove", NAME, "--yes")
    text = shown(run, "show", NAME)
    assert text.splitlines()[0] == "sums was removed; its fires are kept"
    assert text.partition("\nfires ")[2] == before
    assert [line.split()[4] for line in shown(run, "show", NAME, "--state", "missed").splitlines()[3:]] == ["missed"]


def test_in_json_a_schedule_that_was_removed_is_null(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    ground.insert(ground.fire(-1, job_id=JOB))
    run(schedules, "remove", NAME, "--yes")
    found = json.loads(shown(run, "show", NAME, "--json"))
    assert set(found) == {"schedule", "next", "fires", "counts", "open_jobs", "oddities"}
    assert (found["schedule"], found["next"], found["counts"]) == (None, [], {"fired": 1})
    assert [fire["job_id"] for fire in found["fires"]] == [JOB]


def test_a_name_that_never_was_is_no_schedule_that_was_removed(run: Run, ground: Ground) -> None:
    result = run(schedules, "show", "nothing")
    assert (result.exit_code, "there is no schedule 'nothing'" in result.stderr) == (1, True)


# -- how it looks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_a_portrait_is_not_wider_than_the_terminal(run: Run, eventful: Ground, width: int) -> None:
    run(schedules, "pause", NAME, "--note", "the API of the partners is down until Monday; " * 4)
    eventful.app.conf.timezone = BERLIN
    assert max(cell_len(line) for line in on_a_terminal(run, "show", NAME, width=width)) <= width


def test_at_80_columns_an_id_stands_in_one_piece(run: Run, eventful: Ground) -> None:
    lines = on_a_terminal(run, "show", NAME, width=80)
    assert sum(f"fired    job {JOB[:-1]}" in line for line in lines) == 3


def test_in_a_pipe_nothing_is_wrapped(run: Run, ground: Ground) -> None:
    ground.add(ground.sums(kwargs={"left": "x" * 300, "right": 0}))
    assert f"  call   left='{'x' * 300}', right=0\n" in shown(run, "show", NAME)


@pytest.mark.parametrize("look", [shown, lambda *arguments: "\n".join(on_a_terminal(*arguments))])
def test_what_others_have_written_cannot_operate_the_terminal(
    run: Run, ground: Ground, look: Callable[..., str]
) -> None:
    owned = "\x1b]0;owned\x07\x1b[2J\u202e"
    made = sums(NAME, task=owned, args=(owned,), kwargs={}, on_missed=owned, options={"queue": owned})
    ground.add(made, since=1, by=owned)
    ground.set(paused_at=ground.last, paused_by=owned, pause_note=owned)
    ground.insert(ground.fire(-1, SKIPPED, reason=owned), ground.fire(-2, job_id=owned))
    text = look(run, "show", NAME)
    assert text.count("owned") == 9
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


# -- what comes next of several ---------------------------------------------------------------------------------------


def upcoming(run: Run, *arguments: str) -> list[tuple[str, str]]:
    """(time, name) of each line that `next` prints in a pipe."""
    return [(time, name) for time, name in (line.split("\t") for line in shown(run, "next", *arguments).splitlines())]


def test_the_next_times_of_all_come_in_their_order(run: Run, ground: Ground) -> None:
    ground.add(ground.sums("b"), ground.sums("a"), since=1)
    expected = [(ground.hour(number).isoformat(), name) for number in (1, 2) for name in ("a", "b")]
    assert upcoming(run, "--count", "4") == expected


def test_only_those_that_are_named_are_shown(run: Run, ground: Ground) -> None:
    ground.add(ground.sums("a"), ground.sums("b"), ground.sums("c"), since=1)
    expected = [(ground.hour(number).isoformat(), name) for number in (1, 2) for name in ("a", "c")]
    assert upcoming(run, "c", "a", "c", "--count", "4") == expected


def test_the_earliest_of_many_are_found(run: Run, ground: Ground) -> None:
    for number in (5, 3, 1, 2, 4):
        ground.add(ground.sums(f"s{number}", when=At(ground.hour(number))), since=number)
    ground.add(ground.sums("often"), since=2)
    expected = [(1, "s1"), (2, "often"), (2, "s2"), (3, "often"), (3, "s3")]
    assert upcoming(run, "--count", "5") == [(ground.hour(number).isoformat(), name) for number, name in expected]


def test_paused_ones_are_left_out_unless_they_are_named(run: Run, ground: Ground) -> None:
    ground.add(ground.sums("a"), ground.sums("b"), since=1)
    ground.changes.pause("a")
    assert {name for _, name in upcoming(run)} == {"b"}
    result = run(schedules, "next", "a", "--count", "1")
    assert result.stdout == f"{ground.hour(1).isoformat()}\ta\n"
    assert result.stderr == "penstock: schedule 'a' is paused: its planned times are skipped until it is resumed\n"


def test_excluded_days_are_left_out(run: Run, ground: Ground) -> None:
    ground.add(sums(NAME, when=Cron("0 12 * * *"), exclude=(date(2030, 1, 2),)), since=1)
    days = [time[:10] for time, _ in upcoming(run, "--after", "2030-01-01", "--count", "2")]
    assert days == ["2030-01-01", "2030-01-03"]


def test_what_only_another_application_knows_is_remarked_and_the_rest_is_shown(run: Run, ground: Ground) -> None:
    ground.add(foreign(name="sunset"), ground.sums("a"), since=1)
    result = run(schedules, "next", "--count", "2")
    assert result.exit_code == 0
    assert [line.split("\t")[1] for line in result.stdout.splitlines()] == ["a", "a"]
    assert result.stderr == "penstock: schedule 'sunset': odd: 3600 s is known only where it is declared\n"


def test_such_a_one_is_refused_when_it_is_named(run: Run, ground: Ground) -> None:
    ground.add(foreign(name="sunset"), ground.sums("a"), since=1)
    result = run(schedules, "next", "a", "sunset")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is known only where it is declared" in result.stderr


def test_how_somebody_elses_object_looks_cannot_operate_the_terminal(run: Run, ground: Ground) -> None:
    ground.add(sums(NAME, when=Foreign(None, "\x1b]0;owned\x07")), since=1)
    result = run(schedules, "next")
    assert "owned" in result.stderr
    assert "\x1b" not in result.output


def test_a_name_that_nobody_knows_is_refused_with_a_suggestion(run: Run, ground: Ground) -> None:
    ground.add(ground.sums("nightly sales"))
    for verb in ("show", "next"):
        result = run(schedules, verb, "nightly sale")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == "penstock: there is no schedule 'nightly sale'; did you mean 'nightly sales'?\n"


def test_next_as_json_has_the_time_in_utc_and_as_clocks_show_it(run: Run, ground: Ground) -> None:
    ground.add(NIGHTS, since=1)
    assert json.loads(shown(run, "next", "--after", "2027-03-28T12:00Z", "--count", "1", "--json")) == [
        {"schedule": "nights", "planned_at": "2027-03-29T00:30:00+00:00", "local": "2027-03-29T02:30:00+02:00"}
    ]


def test_without_schedules_nothing_is_planned(run: Run, ground: Ground) -> None:
    assert on_a_terminal(run, "next") == ["nothing is planned"]
    assert shown(run, "next") == ""
    assert json.loads(shown(run, "next", "--json")) == []


@pytest.mark.parametrize("width", [60, *WIDTHS])
def test_the_table_of_next_times_is_not_wider_than_the_terminal(run: Run, ground: Ground, width: int) -> None:
    ground.add(sums("lists of everything that ever happened to anybody, " * 3 + "and more", timezone=BERLIN), since=1)
    ground.add(QUARTERS, since=1)
    lines = on_a_terminal(run, "next", width=width)
    assert lines[0].split() == ["planned", "schedule"]
    assert max(cell_len(line) for line in lines) <= width
    assert sum("quarters" in line and " in " in line for line in lines) >= 5


# -- clocks that are put forward and back -----------------------------------------------------------------------------


def test_across_a_spring_night_offsets_tell_what_clocks_do(run: Run, ground: Ground) -> None:
    ground.add(NIGHTS, since=1)
    assert [time for time, _ in upcoming(run, "--after", "2027-03-26T12:00", "--count", "3")] == [
        "2027-03-27T02:30:00+01:00",
        "2027-03-28T03:00:00+02:00",
        "2027-03-29T02:30:00+02:00",
    ]


def test_across_an_autumn_night_times_come_in_the_order_in_which_they_pass(run: Run, ground: Ground) -> None:
    ground.add(QUARTERS, sums("halves", when=Every(1800), timezone=BERLIN), since=1)
    lines = on_a_terminal(run, "next", "--after", "2027-10-31T00:29Z", "--count", "6")[1:]
    assert [re.sub(r"  in \d+d  ", " ", line) for line in lines] == [
        "Sun 2027-10-31 02:30 +02:00 halves",
        "Sun 2027-10-31 02:30 +02:00 quarters",
        "Sun 2027-10-31 02:45 +02:00 quarters",
        "Sun 2027-10-31 02:00 +01:00 halves",
        "Sun 2027-10-31 02:00 +01:00 quarters",
        "Sun 2027-10-31 02:15 +01:00 quarters",
    ]


def test_a_time_without_an_offset_is_read_in_the_apps_zone(run: Run, ground: Ground) -> None:
    ground.add(sums(NAME, when=Every(3600)), since=1)
    ground.app.conf.timezone = "Asia/Tokyo"
    assert upcoming(run, "--after", "2030-01-01T09:00", "--count", "1") == [("2030-01-01T01:00:00+00:00", NAME)]


def test_a_time_that_clocks_jump_over_is_right_after_the_jump(run: Run, ground: Ground) -> None:
    ground.add(QUARTERS, since=1)
    ground.app.conf.timezone = BERLIN
    assert upcoming(run, "--after", "2027-03-28T02:30", "--count", "1")[0][0] == "2027-03-28T03:15:00+02:00"


@pytest.mark.parametrize("after", ["0001-01-01", "9999-12-31", "9999-12-31T23:59-12:00"])
def test_a_year_that_is_out_of_all_bounds_is_refused(run: Run, ground: Ground, after: str) -> None:
    ground.add(ground.sums())
    result = run(schedules, "next", "--after", after)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is neither an age such as 30m, 2h or 7d nor a time" in " ".join(result.stderr.split())


# -- elsewhere --------------------------------------------------------------------------------------------------------


def test_an_app_that_has_adopted_the_ledger_knows_its_own_objects(ground: Ground) -> None:
    shop = adopt(Celery("shop", broker=ground.broker_url, set_as_current=False), ledger=ground.url)
    made = foreign(name="sunset")
    shop.conf.beat_schedule = {"sunset": {"task": "shop.close", "schedule": made.when.object}}  # type: ignore[attr-defined]
    ground.add(made, since=1, by="shop")
    assert len(run_with(shop, schedules, "next", "sunset", "--count", "3").stdout.splitlines()) == 3
    assert "\nnext  " in run_with(shop, schedules, "show", "sunset").stdout


@pytest.mark.parametrize("verb", [("show", NAME), ("next",), ("next", NAME)])
def test_a_ledger_that_is_down_is_one_sentence(environment: dict[str, str], verb: tuple[str, ...]) -> None:
    with producer({**environment, "DATABASE_URL": "postgresql://ada:secret@127.0.0.1:1/ledger"}) as app:
        result = run_with(app, schedules, *verb)
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert "does not answer" in result.stderr
