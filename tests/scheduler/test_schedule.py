"""Declaring: what a schedule takes, what it refuses, and that it is data."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import celery
import pytest
from celery.schedules import solar
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import DeclarationError
from penstock.scheduler import At, Calendar, Cron, Every, Foreign, Schedule, schedule, timetable
from penstock.scheduler.schedule import MAX_EXCLUDED, MAX_JITTER, MAX_NAME
from penstock.scheduler.timetables.zones import zone_of
from tests import jobs
from tests.scheduler.ground import SUM, sums

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
EVERYTHING = sums(
    when=Cron("0 2 * * *", days="both"),
    args=(1, [2, {"three": 4}]),
    kwargs={"text": "{fire_time}"},
    options={"queue": "mail", "priority": 3, "expires": 60.0},
    timezone="Europe/Berlin",
    dst="literal",
    overlap="buffer one",
    catch_up=timedelta(hours=3),
    jitter=30.0,
    start=NOON,
    end=NOON + DAY,
    max_fires=7,
    exclude=(date(2026, 12, 24), date(2026, 12, 25)),
    pause_after_failures=3,
    tags=("night", "sales"),
    on_missed="tests.missed",
    is_template=False,
)


# -- what is declared -------------------------------------------------------------------------------------------------


def test_a_bound_call_is_taken_with_its_arguments() -> None:
    made = schedule("sums", jobs.add.bind(1, right=2), Every(5))
    assert (made.task, made.args, made.kwargs, made.options) == ("tests.jobs.add", (1,), {"right": 2}, {})


def test_a_task_without_arguments_is_a_call() -> None:
    assert schedule("start", jobs.start_another, Every(5)).task == "tests.jobs.start_another"


def test_only_options_that_the_task_does_not_have_anyway_are_carried() -> None:
    """So that a schedule follows its task when that is declared for another queue."""
    call = jobs.add.options(queue="mail", priority=0).bind(1, 2)
    assert schedule("sums", call, Every(5)).options == {"queue": "mail"}


def test_a_signature_of_celerys_is_a_call_with_all_its_options() -> None:
    call = celery.signature("legacy.task", (1,), {"x": 2}, queue="old", countdown=3, immutable=True)
    made = schedule("old", call, Every(5))
    assert (made.task, made.args, made.kwargs) == ("legacy.task", (1,), {"x": 2})
    assert made.options == {"queue": "old", "countdown": 3}


def test_who_is_told_of_missed_fires_is_carried_by_its_name() -> None:
    made = schedule("start", jobs.start_another, Every(5), on_missed=jobs.echo)  # type: ignore[arg-type]
    assert made.on_missed == "tests.jobs.echo"


@pytest.mark.parametrize(
    "call",
    [
        celery.chain(celery.signature("a"), celery.signature("b")),
        celery.group(celery.signature("a"), celery.signature("b")),
        celery.chord([celery.signature("a")], celery.signature("b")),
        celery.signature("a", link=celery.signature("b")),
        celery.signature("a", link_error=[celery.signature("b")]),
    ],
    ids=["chain", "group", "chord", "link", "link_error"],
)
def test_a_workflow_is_refused_with_the_remedy(call: Any) -> None:
    with pytest.raises(DeclarationError, match="'flow': a workflow cannot be scheduled; schedule a task that starts"):
        schedule("flow", call, Every(5))


@pytest.mark.parametrize("options", [{"delay": 5}, {"at": NOON}])
def test_a_call_that_says_when_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match="when says when"):
        schedule("sums", jobs.add.options(**options).bind(1, 2), Every(5))


@pytest.mark.parametrize("call", ["tests.jobs.add", None, lambda: None, {"task": 3}])
def test_what_is_no_call_is_refused(call: Any) -> None:
    with pytest.raises(DeclarationError, match=r"is no call; give task\.bind"):
        schedule("sums", call, Every(5))


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (jobs.add.bind(1), r"tests\.jobs\.add.*missing a required argument: 'right'"),  # type: ignore[call-arg]
        (jobs.echo.bind(object()), "which is not JSON"),
        (jobs.echo.bind("x" * 70_000), "sums"),
        (jobs.echo.bind("until {firetime}"), r"there is no \{firetime\}; write \{fire_time\}"),
        (jobs.echo.bind({"day": ["{previous_fire}"]}), r"there is no \{previous_fire\}"),
    ],
)
def test_arguments_that_cannot_be_sent_are_refused_by_name(call: Any, complaint: str) -> None:
    with pytest.raises(DeclarationError, match=rf"schedule 'sums': .*{complaint}|schedule '{complaint}'"):
        schedule("sums", call, Every(5))


def test_of_a_task_that_is_not_declared_here_nothing_is_known() -> None:
    assert sums(task="somebody.elses", kwargs={"any": "thing"}).problem() is None


def test_braces_of_celerys_entries_mean_nothing() -> None:
    made = sums(task="legacy", kwargs={"text": "{firetime}"}, is_template=False)
    assert made.problem() is None
    assert made.arguments(NOON, None) == ([], {"text": "{firetime}"})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"name": ""}, "a name has 1 to 200 characters"),
        ({"name": "x" * (MAX_NAME + 1)}, "a name has 1 to 200 characters"),
        ({"name": " x"}, "without spaces at its ends"),
        ({"name": "a\nb"}, "a name is a text"),
        ({"name": 5}, "a name is a text"),
        ({"when": "0 2 * * *"}, r"when='0 2 \* \* \*': give Cron"),
        ({"when": 60}, "give Cron"),
        ({"timezone": "Europe/Berln"}, "did you mean Europe/Berlin"),
        ({"dst": "summer"}, "dst='summer': one of cron, literal"),
        ({"overlap": "queue"}, "overlap='queue': one of skip, buffer one, buffer all, cancel other, allow"),
        ({"catch_up": "some"}, "catch_up='some': none, latest, all, or a timedelta"),
        ({"catch_up": 60}, "catch_up=60: none"),
        ({"catch_up": timedelta(0)}, "more than 0"),
        ({"jitter": -1}, "jitter=-1: seconds"),
        ({"jitter": MAX_JITTER + 1}, "jitter=86401: seconds"),
        ({"jitter": True}, "jitter=True"),
        ({"jitter": float("nan")}, "jitter=nan"),
        ({"jitter": "5"}, "jitter='5'"),
        ({"start": datetime(2026, 1, 1)}, "start=.*give it a time zone"),
        ({"end": "2026-01-01"}, "end='2026-01-01': give it a time zone"),
        ({"start": NOON, "end": NOON}, "which is not before"),
        ({"max_fires": 0}, "max_fires=0: a whole number, 1 or more"),
        ({"max_fires": True}, "max_fires=True"),
        ({"pause_after_failures": 1.5}, "pause_after_failures=1.5: a whole number"),
        ({"exclude": (NOON,)}, "at most 1000 dates"),
        ({"exclude": (date(2026, 1, 1),) * (MAX_EXCLUDED + 1)}, "at most 1000 dates"),
        ({"tags": ("",)}, "at most 10 words"),
        ({"tags": tuple(map(str, range(11)))}, "at most 10 words"),
        ({"tags": (1,)}, "at most 10 words"),
    ],
)
def test_what_is_out_of_its_bounds_is_refused_by_name(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DeclarationError, match=rf"^schedule .*: .*{complaint}"):
        sums(**changes)


def test_two_schedules_cannot_have_one_name() -> None:
    with pytest.raises(DeclarationError, match="schedule 'sums' is declared twice"):
        timetable((sums(), sums("other")), (sums(),))


def test_a_timetable_is_in_the_order_of_its_modules() -> None:
    assert [each.name for each in timetable((sums("b"),), (sums("a"), sums("c")))] == ["b", "a", "c"]


def test_declaring_loads_neither_celery_nor_sqlalchemy() -> None:
    code = "import sys, penstock.scheduler; sys.exit(bool({'celery', 'sqlalchemy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- as words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [
        EVERYTHING,
        sums(),
        sums(when=At(NOON)),
        sums(when=Calendar("month", on="last working day", at="17:30")),
        sums(when=Foreign(solar("sunset", 52.5, 13.4))),
        sums(catch_up="none"),
    ],
)
def test_a_schedule_is_the_same_after_its_way_through_json(made: Schedule) -> None:
    assert Schedule.of(made.name, json.loads(json.dumps(made.words()))) == made


def test_words_leave_out_what_is_as_usual() -> None:
    assert sums(kwargs={}).words() == {"task": "tests.jobs.add", "when": {"kind": "interval", "seconds": 3600}}


def test_words_say_everything_else() -> None:
    assert EVERYTHING.words().keys() == {*vars_of(EVERYTHING)} - {"name"}


def vars_of(made: Schedule) -> list[str]:
    return [name for name in Schedule.__slots__ if getattr(made, name) is not None]


@pytest.mark.parametrize("nested", [{"days": (1, 2)}, {"by": {1: "one"}}, {"all": [{"days": (1,)}]}])
def test_words_are_what_json_gives_back(nested: dict[str, Any]) -> None:
    """Otherwise the same declaration would look changed at each start of a scheduler."""
    made = sums(task="legacy", kwargs=nested, options={"headers": nested})
    assert json.loads(json.dumps(made.words())) == made.words()


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"task": "t"},
        {"task": "t", "when": {"kind": "sundial"}},
        {"task": "t", "when": {"kind": "cron", "expression": ["0"]}},
        {"task": "t", "when": 5},
        {"task": "t", "when": {"kind": "interval", "seconds": 5}, "weather": "fine"},
        {"task": "t", "when": {"kind": "interval", "seconds": 5}, "start": "soon"},
        {"task": "t", "when": {"kind": "interval", "seconds": 5}, "start": 5},
        {"task": "t", "when": {"kind": "interval", "seconds": 5}, "exclude": ["never"]},
        {"task": "t", "when": {"kind": "interval", "seconds": 5}, "catch_up": float("1e300")},
        {"task": "t", "when": {"kind": "interval", "seconds": 5}, "overlap": "queue up"},
        {"task": "t", "when": {"kind": "interval", "seconds": 5}, "overlap": ["skip"]},
        {"task": "t", "when": {"kind": "interval", "seconds": 5}, "tags": 5},
        {"task": "t", "when": {"kind": "interval", "seconds": 5}, "timezone": 5},
        {"task": "t", "when": {"kind": "interval", "seconds": 5}, "jitter": {}},
        [],
        None,
        "words",
    ],
)
def test_words_of_another_version_are_refused_as_such(words: Any) -> None:
    with pytest.raises(DeclarationError, match=r"^schedule 'sums' cannot be read by this version"):
        Schedule.of("sums", words)


# -- its times --------------------------------------------------------------------------------------------------------


def times(made: Schedule, after: datetime, count: int = 10) -> list[datetime]:
    found: list[datetime] = []
    following = made.after(after)
    while following is not None and len(found) < count:
        found.append(following)
        following = made.after(following)
    return found


def test_both_bounds_belong_to_it() -> None:
    made = sums(start=NOON, end=NOON + timedelta(hours=2))
    assert times(made, NOON - 9 * DAY) == [NOON + timedelta(hours=n) for n in range(3)]


def test_a_bound_may_lie_between_its_times() -> None:
    made = sums(start=NOON + timedelta(minutes=1), end=NOON + timedelta(hours=1, minutes=59))
    assert times(made, NOON - 9 * DAY) == [NOON + timedelta(hours=1)]


def test_an_instant_may_come_in_any_zone() -> None:
    """Timetables count in UTC: hours that are added to what clocks show are off by one after they were shifted."""
    midnight = datetime(2026, 3, 29, tzinfo=zone_of("Europe/Berlin"))
    made = sums(when=Cron("30 2 * * *"), timezone="Europe/Berlin", dst="literal")
    following = datetime(2026, 3, 30, 0, 30, tzinfo=UTC)
    assert (made.after(midnight), replace(made, start=midnight).after(NOON)) == (following, following)


def test_its_times_are_those_of_its_zone() -> None:
    made = sums(when=Cron("0 2 * * *"), timezone="Asia/Kathmandu")
    assert made.after(NOON) == datetime(2026, 3, 1, 20, 15, tzinfo=UTC)


def test_the_deployments_zone_is_for_schedules_that_name_none() -> None:
    assert sums().in_zone("Asia/Tokyo").timezone == "Asia/Tokyo"
    assert sums(timezone="UTC").in_zone("Asia/Tokyo").timezone == "UTC"


def test_days_are_excluded_by_the_clock_of_its_zone() -> None:
    made = sums(timezone="Asia/Tokyo", exclude=(date(2026, 3, 2),))
    assert [made.is_excluded(NOON + timedelta(hours=n)) for n in (2, 3, 26, 27)] == [False, True, True, False]


# -- jitter -----------------------------------------------------------------------------------------------------------


def test_jitter_is_the_same_for_every_scheduler_and_every_release() -> None:
    """Known by heart: two versions beside each other must agree, whatever hash seed and platform they run with."""
    later = sums(jitter=3600).due(NOON) - NOON
    assert later == timedelta(seconds=719, microseconds=714861)


@given(st.floats(0.001, MAX_JITTER), st.integers(0, 10**6), st.text("abc", min_size=1, max_size=3))
def test_jitter_stays_within_its_bounds(jitter: float, hours: int, name: str) -> None:
    planned = NOON + timedelta(hours=hours)
    assert planned <= sums(name, jitter=jitter).due(planned) <= planned + timedelta(seconds=jitter)


def test_jitter_spreads_schedules_and_times() -> None:
    hours = [NOON + timedelta(hours=n) for n in range(100)]
    one, other = sums("one", jitter=3600), sums("other", jitter=3600)
    spread = sorted((each.due(hour) - hour).total_seconds() for each in (one, other) for hour in hours)
    assert len(set(spread)) == 200
    assert [sum(low <= each < low + 900 for each in spread) > 25 for low in (0, 900, 1800, 2700)] == [True] * 4


def test_jitter_is_of_the_instant_in_whatever_zone_it_comes() -> None:
    made = sums(jitter=3600, timezone="Asia/Tokyo")
    assert made.due(NOON) == made.due(NOON.astimezone(made.zone))


def test_without_jitter_a_time_is_due_when_it_is_planned() -> None:
    assert sums().due(NOON) == NOON


# -- its arguments ----------------------------------------------------------------------------------------------------


def test_arguments_are_made_anew_for_each_fire() -> None:
    made = sums(timezone="Asia/Tokyo", args=("{fire_time:%H:%M}",), kwargs={"since": "{previous_fire_time}"})
    assert made.arguments(NOON, None) == (["21:00"], {"since": None})
    assert made.arguments(NOON, NOON - DAY) == (["21:00"], {"since": "2026-02-28T21:00:00+09:00"})


def test_filling_arguments_leaves_the_declaration_as_it_is() -> None:
    made = sums(kwargs=SUM)
    made.arguments(NOON, None)[1]["left"] = 9
    assert made == replace(made, kwargs={"left": 1, "right": 2})
