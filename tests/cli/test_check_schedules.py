"""`check` on schedules: whether they can fire, and with --beats whether somebody is there to fire them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from penstock.app import PenstockApp, make_app
from penstock.checks.schedules import check_schedules
from penstock.cli.check import check
from penstock.config import Settings
from penstock.ledger import schedules as rows
from penstock.ledger import schema
from penstock.ledger.session import writing
from penstock.profile import Profile
from penstock.scheduler import At, Calendar, Cron, Every, Schedule
from tests.cli.conftest import Run, run_with
from tests.conftest import producer
from tests.scheduler.ground import HOUR, Ground, foreign, sums

TASKS = ("tests.jobs.add", "tests.scheduler.hear")
PROFILES = (Profile(name="main", queues=("default", "celery"), children=1),)
BERLIN = "Europe/Berlin"


def said(*declared: Schedule) -> str:
    """What is said of schedules that all can fire."""
    finding, *_ = check_schedules(declared, TASKS)
    assert (finding.name, finding.passed, finding.warning) == ("schedules", True, False)
    return finding.text


def problem(*declared: Schedule) -> str:
    """What is said of schedules that cannot all fire; nothing else is."""
    (finding,) = check_schedules(declared, TASKS)
    assert (finding.name, finding.passed) == ("schedules", False)
    return finding.text


# -- what is declared -------------------------------------------------------------------------------------------------


def test_the_schedules_that_fire_next_are_named_with_their_times() -> None:
    at = {name: At(datetime(2099, 1, day, 18, tzinfo=UTC)) for day, name in enumerate("dcba", 1)}
    made = [sums(name, when=when, timezone=BERLIN) for name, when in at.items()]
    assert said(*made) == (
        "4, each fits its task; next d at 2099-01-01 19:00 +01:00, c at 2099-01-02 19:00 +01:00, "
        "b at 2099-01-03 19:00 +01:00"
    )


def test_seconds_are_named_where_there_are_some() -> None:
    made = sums("a", when=At(datetime(2099, 1, 1, 18, 0, 5, tzinfo=UTC)))
    assert said(made) == "1, each fits its task; next a at 2099-01-01 18:00:05 UTC"


def test_one_that_is_over_has_no_next_time() -> None:
    assert said(sums("a", when=At(datetime(2020, 1, 1, tzinfo=UTC)))) == "1, each fits its task"


def test_without_schedules_that_is_said() -> None:
    assert said() == "none is declared"


def test_a_task_that_is_not_there_is_named_with_one_that_is_spelt_alike() -> None:
    text = problem(sums("a", task="tests.jobs.ad"), sums("b", on_missed="zzz"))
    assert text == (
        "schedule 'a': there is no task 'tests.jobs.ad', did you mean tests.jobs.add?; "
        "schedule 'b': there is no task 'zzz'; correct it where it is declared"
    )


def test_arguments_that_do_not_fit_are_named() -> None:
    assert "schedule 'a': tests.jobs.add" in problem(sums("a", kwargs={"left": 1}))


def test_an_object_that_cannot_say_when_it_is_due_is_named() -> None:
    def fail() -> None:
        raise OSError("no such planet")

    assert problem(foreign(name="a", also=fail)) == (
        "schedule 'a' cannot say when it is due: OSError: no such planet; correct it where it is declared"
    )


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            sums("a", when=Cron("30 2 * * *"), dst="literal", timezone=BERLIN),
            ("02:30 does not come", "02:30 comes twice"),
        ),
        (sums("a", when=Calendar("day", at="02:30"), dst="literal", timezone=BERLIN), ("does not come", "comes twice")),
        (sums("a", when=Cron("0,30 2 * * *"), timezone=BERLIN), ("2 fires become one, at 03:00",)),
    ],
)
def test_one_that_loses_or_doubles_a_fire_is_a_warning_with_the_days(made: Schedule, words: tuple[str, ...]) -> None:
    _, clocks = check_schedules([made], TASKS)
    assert (clocks.name, clocks.passed, clocks.warning) == ("clocks", True, True)
    assert clocks.text.startswith(f"'a' ({made.when}, Europe/Berlin): 20")
    assert clocks.text.endswith("; choose another hour, or UTC")
    assert all(word in clocks.text for word in words)


@pytest.mark.parametrize(
    "made",
    [
        sums("a", when=Cron("30 2 * * *"), timezone=BERLIN),
        sums("a", when=Cron("30 2 * * *"), dst="literal", timezone="Asia/Tokyo"),
        sums("a", when=Cron("30 * * * *"), timezone=BERLIN),
        sums("a", when=Cron("30 12 * * *"), dst="literal", timezone=BERLIN),
        sums("a", when=Every(60), timezone=BERLIN),
    ],
)
def test_one_that_clocks_do_nothing_to_is_no_cause_for_a_warning(made: Schedule) -> None:
    assert len(check_schedules([made], TASKS)) == 1


# -- as a command -----------------------------------------------------------------------------------------------------


def checked(settings: Settings, *declared: Schedule, **config: Any) -> dict[str, dict[str, Any]]:
    """Findings about schedules of `check --json`, by name; the exit code must agree with all findings."""
    config = {"task_default_queue": "default", **config}
    app = make_app("tests", settings=settings, config=config, profiles=PROFILES, schedules=declared)
    result = run_with(app, check, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == (0 if all(finding["passed"] for finding in report["findings"]) else 1)
    return {finding["name"]: finding for finding in report["findings"]}


@pytest.fixture
def quick_settings(broker_url: str, sqlite_template: Path) -> Settings:
    """A deployment whose database is not what the test is about."""
    return Settings.load({"REDIS_URL": broker_url, "DATABASE_URL": f"sqlite:///{sqlite_template}"})


def test_a_warning_fails_nothing(quick_settings: Settings) -> None:
    odd = sums("a", when=Cron("30 2 * * *"), dst="literal", timezone=BERLIN)
    found = checked(quick_settings, odd)
    assert found["schedules"]["passed"]
    assert (found["clocks"]["passed"], found["clocks"]["warning"]) == (True, True)


def test_entries_of_celerys_beat_schedule_are_checked_as_well(quick_settings: Settings) -> None:
    found = checked(quick_settings, beat_schedule={"a": {"task": "tests.jobs.ad", "schedule": 60}})
    assert not found["schedules"]["passed"]
    assert "schedule 'a': there is no task 'tests.jobs.ad', did you mean tests.jobs.add?" in found["schedules"]["text"]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"task": "tests.jobs.add"}, "beat_schedule 'a': there is no schedule; give seconds, a timedelta"),
        ({"schedule": 60}, "beat_schedule 'a': give it a 'task' and a 'schedule'"),
        ({"task": "tests.jobs.add", "schedule": "daily"}, "beat_schedule 'a': give it a 'task' and a 'schedule'"),
    ],
)
def test_an_entry_that_makes_no_sense_is_one_finding(
    quick_settings: Settings, entry: dict[str, Any], sentence: str
) -> None:
    found = checked(quick_settings, beat_schedule={"a": entry})
    assert not found["schedules"]["passed"]
    assert sentence in found["schedules"]["text"]


def test_a_name_that_is_declared_twice_is_one_finding(quick_settings: Settings) -> None:
    entry = {"task": "tests.jobs.add", "args": (1, 2), "schedule": 60}
    found = checked(quick_settings, sums("a"), beat_schedule={"a": entry})
    assert not found["schedules"]["passed"]
    assert "schedule 'a' is declared twice" in found["schedules"]["text"]


# -- who is there to fire them ----------------------------------------------------------------------------------------


@pytest.fixture
def ground(app: PenstockApp) -> Iterator[Ground]:
    """An empty ledger, on each database."""
    with Ground(app) as made:
        yield made


def seen(ground: Ground, name: str, ago: float) -> None:
    """A scheduler that looked what is due so many seconds ago."""
    with writing(ground.url) as connection:
        now = rows.clock(connection)
        rows.note_beat(connection, name, now - HOUR, now - timedelta(seconds=ago))


def found(run: Run, *options: str) -> tuple[int, list[tuple[str, bool, str]]]:
    """Exit code, and name, whether it passed, and text of each finding."""
    result = run(check, "--json", *options)
    report = json.loads(result.stdout)
    assert report["passed"] == (result.exit_code == 0)
    return result.exit_code, [(each["name"], each["passed"], each["text"]) for each in report["findings"]]


def test_without_a_beat_it_is_told_how_to_start_one(run: Run, ground: Ground) -> None:
    assert found(run, "--beats") == (1, [("beats", False, "none runs; start one with `celery -A workers beat`")])


def test_a_beat_at_work_passes(run: Run, ground: Ground) -> None:
    seen(ground, "beat-1@web-1", 5)
    code, [(name, passed, text)] = found(run, "--beats")
    assert (code, name, passed) == (0, "beat-1@web-1", True)
    assert text.startswith("looked what is due ")


def test_one_that_turns_is_at_work(run: Run, ground: Ground) -> None:
    turning = ground.turning()
    turning.turn()
    code, findings = found(run, "--beats")
    assert (code, [name for name, _, _ in findings]) == (0, [turning.name])
    assert found(run, "--beat", turning.name.partition("@")[2])[0] == 0


def test_a_silent_one_fails_with_its_remedy(run: Run, ground: Ground) -> None:
    seen(ground, "beat-1@web-1", 190)
    code, [(name, passed, text)] = found(run, "--beats")
    assert (code, name, passed) == (1, "beat-1@web-1", False)
    assert text.startswith("was last seen 0:03:1")
    assert text.endswith(" ago; look at its log, or start it again")


def test_of_several_one_at_work_is_enough(run: Run, ground: Ground) -> None:
    seen(ground, "beat-1@web-1", 190)
    seen(ground, "beat-2@web-2", 0)
    code, findings = found(run, "--beats")
    assert (code, [name for name, _, _ in findings]) == (0, ["beat-2@web-2"])


@pytest.mark.parametrize(
    ("wanted", "code"), [("web-1", 1), ("web-2", 0), ("beat-2@web-2", 0), ("beat-1@web-1", 1), ("beat-2", 1)]
)
def test_a_beat_is_asked_for_by_its_name_or_its_host(run: Run, ground: Ground, wanted: str, code: int) -> None:
    seen(ground, "beat-1@web-1", 190)
    seen(ground, "beat-2@web-2", 0)
    assert found(run, "--beat", wanted)[0] == code


@pytest.mark.parametrize(("wanted", "where"), [("web-9", "on web-9"), ("beat-1@web-9", "by the name of beat-1@web-9")])
def test_a_beat_that_is_not_there_is_told_to_be_started(run: Run, ground: Ground, wanted: str, where: str) -> None:
    seen(ground, "beat-1@web-1", 0)
    sentence = f"none runs {where}; start one with `celery -A workers beat`"
    assert found(run, "--beat", wanted) == (1, [("beats", False, sentence)])


def test_a_probe_whose_variable_is_not_set_is_wrong_usage(run: Run, ground: Ground) -> None:
    result = run(check, "--beat", "")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is empty" in result.stderr


def test_schedules_that_are_overdue_fail_though_a_beat_is_at_work(run: Run, ground: Ground) -> None:
    seen(ground, "beat-1@web-1", 0)
    ground.add(ground.sums("a"), ground.sums("b"), since=-1)
    ground.add(ground.sums("c"), since=1)
    code, findings = found(run, "--beats")
    assert code == 1
    name, passed, text = findings[1]
    assert (name, passed) == ("schedules", False)
    assert text.startswith("2 overdue, the first for 1:00:")
    assert text.endswith("; look at the logs of the beats")


def test_what_is_due_for_seconds_is_not_overdue(run: Run, ground: Ground) -> None:
    seen(ground, "beat-1@web-1", 0)
    ground.add(ground.sums("a"), since=0)
    assert found(run, "--beats")[0] == 0


def test_without_a_beat_overdue_schedules_wait_for_one(run: Run, ground: Ground) -> None:
    ground.add(ground.sums("a"), since=-1)
    code, findings = found(run, "--beats")
    assert (code, [name for name, _, _ in findings]) == (1, ["beats", "schedules"])
    assert findings[1][2].endswith("; they fire when a beat is at work")


def test_one_beat_is_not_to_blame_for_what_is_overdue(run: Run, ground: Ground) -> None:
    seen(ground, "beat-1@web-1", 0)
    ground.add(ground.sums("a"), since=-1)
    assert found(run, "--beat", "web-1")[0] == 0


def test_for_people_each_is_a_line_with_a_mark(run: Run, ground: Ground) -> None:
    seen(ground, "beat-1@web-1", 190)
    ground.add(ground.sums("a"), since=-1)
    result = run(check, "--beats")
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [["✘", "beat-1@web-1"], ["✘", "schedules"]]


def test_what_a_host_calls_itself_cannot_operate_the_terminal(run: Run, ground: Ground) -> None:
    seen(ground, "beat-1@\x1b[2Jowned", 0)
    text = run(check, "--beats").stdout
    assert "owned" in text
    assert "\x1b" not in text


def test_a_redis_that_is_away_ends_no_beat(ground: Ground, environment: dict[str, str]) -> None:
    seen(ground, "beat-1@web-1", 0)
    with producer({**environment, "REDIS_URL": "redis://127.0.0.1:1/0"}) as app:
        assert run_with(app, check, "--beats").exit_code == 0


def test_a_ledger_that_is_down_is_a_finding(environment: dict[str, str]) -> None:
    with producer({**environment, "DATABASE_URL": "postgresql://ada:secret@127.0.0.1:1/ledger"}) as app:
        result = run_with(app, check, "--beats")
    assert result.exit_code == 1
    assert result.stdout.startswith("✘  ledger  the ledger at postgresql")
    assert "does not answer" in result.stdout
    assert "secret" not in result.output


@pytest.mark.parametrize("options", [("--beats",), ("--beat", "web-1")])
def test_a_ledger_without_tables_is_told_how_to_get_them(run: Run, ground: Ground, options: tuple[str, ...]) -> None:
    schema.downgrade(ground.url, "base")
    code, [(name, passed, text)] = found(run, *options)
    assert (code, name, passed) == (1, "ledger", False)
    assert text.endswith("run `celery -A workers ledger upgrade`")


def test_workers_and_beats_are_asked_together(run: Run, ground: Ground) -> None:
    seen(ground, "beat-1@web-1", 0)
    _, findings = found(run, "--workers", "--beats")
    assert [name for name, _, _ in findings] == ["workers", "beat-1@web-1"]
