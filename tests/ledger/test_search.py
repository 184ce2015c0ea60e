"""Finding jobs, on each database: every filter, pages, what is read for them, and how many there are."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, text

from penstock.job import FINAL, State
from penstock.ledger import search
from penstock.ledger.search import (
    BadCursor,
    Counts,
    JobFilter,
    NotSearchable,
    Place,
    TooManyJobs,
    count_by_state,
    list_jobs,
)
from penstock.ledger.session import engine_for, reading, writing
from penstock.ledger.tables import jobs
from tests.conftest import DATABASES, NewLedger
from tests.ledger.plans import plans_of, tables_read

ALLOWED = {"searchable": ("order", "who", "value")}
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PRINT, OTHER = "a" * 12, "b" * 12


def row(id: str, state: State = State.SUCCEEDED, minute: int = 0, **values: Any) -> dict[str, Any]:
    """A job that changed last so many minutes before noon."""
    at = NOW - timedelta(minutes=minute)
    fixed = {"id": id, "task": "t", "queue": "default", "state": state.value, "updated_at": at}
    times = {
        "started_at": at if state is State.RUNNING else None,
        "finished_at": at if state in FINAL else None,
        "reason": "unknown task" if state is State.BLOCKED else None,
    }
    empty = dict.fromkeys(("schedule", "error_type", "error_message", "error_fingerprint", "tags", "kwargs"))
    return {**fixed, **times, **empty, **values}


def failed(id: str, minute: int = 0, message: str = "refused", **values: Any) -> dict[str, Any]:
    error = {"error_type": "ValueError", "error_message": message, "error_fingerprint": PRINT}
    return row(id, State.FAILED, minute, **{**error, **values})


def add(url: str, *rows: dict[str, Any]) -> None:
    with writing(url) as connection:
        connection.execute(insert(jobs), list(rows))


def listed(url: str, limit: int = 100, after: Place | None = None, **conditions: Any) -> list[str]:
    with reading(url) as connection:
        return [job.id for job in list_jobs(connection, JobFilter(**conditions), limit, after).jobs]


def counted(url: str, **conditions: Any) -> Counts:
    with reading(url) as connection:
        return count_by_state(connection, JobFilter(**conditions))


def pages(connection: Connection, chosen: JobFilter, limit: int) -> Iterator[list[str]]:
    """The ids of each page, until there is no more."""
    after = None
    while True:
        page = list_jobs(connection, chosen, limit, after)
        yield [job.id for job in page.jobs]
        if page.after is None:
            return
        after = Place.of(page.after.cursor)


@pytest.fixture(scope="module", params=DATABASES)
def filled(request: pytest.FixtureRequest, new_ledger: NewLedger) -> Iterator[str]:
    """Five jobs, the newest first."""
    with new_ledger(request.param) as url:
        fill(url)
        yield url


def fill(url: str) -> None:
    add(
        url,
        row("running", State.RUNNING, 1),
        failed("failed", 2, "disk full", task="other", queue="web", schedule="nightly", tags=("a", "b")),
        row("done", minute=3, tags=("customer-7", "A", "ab"), kwargs={"order": 7, "who": "ada"}),
        failed("refused", 4, tags=("a",), kwargs={"order": "7", "who": "Ada"}),
        row("scheduled", State.SCHEDULED, 5, error_type="OSError", error_message="disk busy", error_fingerprint=OTHER),
    )


@pytest.mark.parametrize(
    ("conditions", "ids"),
    [
        ({}, ["running", "failed", "done", "refused", "scheduled"]),
        ({"states": (State.FAILED, State.RUNNING)}, ["running", "failed", "refused"]),
        ({"task": "other"}, ["failed"]),
        ({"queue": "web"}, ["failed"]),
        ({"schedule": "nightly"}, ["failed"]),
        ({"task": "t", "queue": "web"}, []),
        ({"task": "other", "queue": "web", "schedule": "nightly", "states": (State.FAILED,)}, ["failed"]),
        ({"error": "disk"}, ["failed", "scheduled"]),
        ({"error": "disk", "states": (State.FAILED,)}, ["failed"]),
        ({"error": "disk", "states": (State.SUCCEEDED,)}, []),
        ({"error": "ValueE"}, ["failed", "refused"]),
        ({"error": "%"}, []),
        ({"error": PRINT}, ["failed", "refused"]),
        ({"error": PRINT, "task": "other"}, ["failed"]),
        ({"error": PRINT, "states": (State.RUNNING,)}, []),
        ({"since": NOW - timedelta(minutes=3)}, ["running", "failed", "done"]),
        ({"until": NOW - timedelta(minutes=3)}, ["refused", "scheduled"]),
        ({"since": NOW - timedelta(minutes=4), "until": NOW - timedelta(minutes=2)}, ["done", "refused"]),
        ({"id_prefix": "r"}, ["running", "refused"]),
        ({"id_prefix": "r", "states": (State.FAILED,)}, ["refused"]),
        ({"id_prefix": "R"}, []),
        ({"id_prefix": "f", "error": "disk", "since": NOW - timedelta(hours=1), "queue": "web"}, ["failed"]),
        ({"id_prefix": "f", "error": OTHER}, []),
        ({"tag": "a"}, ["failed", "refused"]),
        ({"tag": "A"}, ["done"]),
        ({"tag": "customer"}, []),
        ({"tag": "a b"}, []),
        ({"tag": ""}, []),
        ({"tag": "%"}, []),
        ({"tag": "a", "queue": "web"}, ["failed"]),
        ({"tag": "a", "task": "t", "states": (State.FAILED,)}, ["refused"]),
        ({"tag": "a", "error": "disk"}, ["failed"]),
        ({"tag": "a", "error": PRINT, "schedule": "nightly"}, ["failed"]),
        ({"tag": "a", "id_prefix": "r"}, ["refused"]),
        ({"arguments": {"order": "7"}, **ALLOWED}, ["done", "refused"]),
        ({"arguments": {"order": "7", "who": "ada"}, **ALLOWED}, ["done"]),
        ({"arguments": {"who": "ad"}, **ALLOWED}, []),
        ({"arguments": {"who": "Ada"}, "tag": "a", "queue": "default", **ALLOWED}, ["refused"]),
        ({"arguments": {"who": "Ada"}, "task": "other", **ALLOWED}, []),
        ({"arguments": {"who": "ada"}, "id_prefix": "d", **ALLOWED}, ["done"]),
    ],
)
def test_every_condition_that_is_given_holds(filled: str, conditions: dict[str, Any], ids: list[str]) -> None:
    assert listed(filled, **conditions) == ids
    assert sum(counted(filled, **conditions).states.values()) == len(ids)


def test_jobs_are_counted_by_state(filled: str) -> None:
    states = {State.RUNNING: 1, State.FAILED: 2, State.SUCCEEDED: 1, State.SCHEDULED: 1}
    assert counted(filled) == Counts(states)


words = st.sampled_from([None, "a", "b"])
filters = st.builds(
    JobFilter,
    states=st.sampled_from([(), (State.FAILED,), (State.SUCCEEDED, State.FAILED), (State.QUEUED,)]),
    task=words,
    queue=words,
    schedule=words,
    error=st.sampled_from([None, PRINT, "full", "no such text"]),
    since=st.sampled_from([None, NOW - timedelta(minutes=30)]),
    until=st.sampled_from([None, NOW - timedelta(minutes=10)]),
    id_prefix=st.sampled_from([None, "1", "x"]),
    tag=st.sampled_from([None, None, "even", "third", "no-such"]),
    arguments=st.sampled_from([{}, {}, {"order": "1"}, {"order": "2", "who": "b"}]),
    searchable=st.just(("order", "who")),
)


@pytest.fixture(scope="module")
def varied(new_ledger: NewLedger) -> Iterator[str]:
    """240 jobs, many of which changed at the same time."""
    with new_ledger("sqlite") as url:
        add(url, *(_varied(number) for number in range(240)))
        yield url


def _varied(number: int) -> dict[str, Any]:
    values = {name: [None, "a", "b"][number // size % 3] for name, size in (("queue", 2), ("schedule", 5))}
    values["task"] = "ab"[number % 2]
    values["tags"] = tuple(tag for tag, size in (("even", 2), ("third", 3)) if number % size == 0) or None
    values["kwargs"] = {"order": number % 3, "who": "ab"[number // 3 % 2]}
    minute = number // 6
    if number % 4 == 0:
        return failed(str(number), minute, ["disk full", "refused"][number % 3 % 2], **values)
    return row(str(number), [State.SUCCEEDED, State.QUEUED][number % 5 == 0], minute, **values)


def expected(chosen: JobFilter, rows: list[dict[str, Any]]) -> list[str]:
    """Written apart from the code under test."""
    kept = [
        each
        for each in rows
        if (not chosen.states or each["state"] in chosen.states)
        and all(getattr(chosen, name) in (None, each[name]) for name in ("task", "queue", "schedule"))
        and (
            chosen.error is None
            or each["error_fingerprint"] == chosen.error
            or chosen.error in str(each["error_message"])
        )
        and (chosen.since is None or each["updated_at"] >= chosen.since)
        and (chosen.until is None or each["updated_at"] < chosen.until)
        and each["id"].startswith(chosen.id_prefix or "")
        and (chosen.tag is None or chosen.tag in (each["tags"] or ()))
        and all(str(each["kwargs"][name]) == value for name, value in chosen.arguments.items())
    ]
    return [each["id"] for each in sorted(kept, key=lambda each: (each["updated_at"], each["id"]), reverse=True)]


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=filters, limit=st.integers(1, 50), looked_at=st.sampled_from([7, 60, 3000]))
def test_all_pages_of_any_filter_have_each_of_its_jobs_once_and_in_order(
    varied: str, chosen: JobFilter, limit: int, looked_at: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, reading(varied) as connection:
        patch.setattr(search, "LOOKED_AT", looked_at if chosen.id_prefix is None else 3000)
        found = list(pages(connection, chosen, limit))
    assert [id for page in found for id in page] == expected(chosen, [_varied(number) for number in range(240)])
    assert all(len(page) <= limit for page in found)


def test_jobs_that_change_at_the_same_time_are_on_one_page_each(database_url: str) -> None:
    add(database_url, *(row(f"{number:02}") for number in range(10)))
    with reading(database_url) as connection:
        found = list(pages(connection, JobFilter(), 3))
    assert found == [["09", "08", "07"], ["06", "05", "04"], ["03", "02", "01"], ["00"]]


def test_a_job_that_comes_between_two_pages_moves_nothing(database_url: str) -> None:
    add(database_url, *(row(str(number), minute=9 - number) for number in range(4)))
    with reading(database_url) as connection:
        first = list_jobs(connection, JobFilter(), 2)
        add(database_url, row("new"))
        second = list_jobs(connection, JobFilter(), 2, first.after)
    assert [job.id for job in first.jobs + second.jobs] == ["3", "2", "1", "0"]


def test_what_no_index_knows_is_looked_for_so_far_and_the_page_says_so(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "LOOKED_AT", 3)
    add(database_url, *(failed(f"new-{number}", number) for number in range(4)), failed("old", 9, "disk full"))
    with reading(database_url) as connection:
        first = list_jobs(connection, JobFilter(error="disk full"), 10)
        assert (first.jobs, first.is_cut_short) == ([], True)
        assert first.after == Place(NOW - timedelta(minutes=2), "new-2")
        second = list_jobs(connection, JobFilter(error="disk full"), 10, first.after)
    assert ([job.id for job in second.jobs], second.after) == (["old"], None)


def test_a_search_for_a_tag_looks_at_tagged_jobs_only(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LOOKED_AT", 3)
    add(database_url, *(row(f"{number}", minute=number) for number in range(20)), row("tagged", minute=30, tags=("a",)))
    add(database_url, *(row(f"b{number}", minute=40, tags=("b",)) for number in range(5)))
    with reading(database_url) as connection:
        page = list_jobs(connection, JobFilter(tag="a"), 10)
        assert ([job.id for job in page.jobs], page.is_cut_short) == (["tagged"], True)
        assert [id for found in pages(connection, JobFilter(tag="a"), 10) for id in found] == ["tagged"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (7, "7"),
        (-1.5, "-1.5"),
        (1e300, "1e+300"),
        (10**30, str(10**30)),
        (True, "true"),
        (False, "false"),
        ("true", "true"),
        ("", ""),
        ('it\'s "quoted" \\u0000 % _', 'it\'s "quoted" \\u0000 % _'),
        ("größe 日本 \U0001f600", "größe 日本 \U0001f600"),
    ],
)
def test_an_argument_is_found_by_its_value_as_json_writes_it(database_url: str, value: Any, said: str) -> None:
    add(database_url, row("1", kwargs={"value": value}), row("2", kwargs={"value": "other"}), row("3", kwargs={}))
    assert listed(database_url, arguments={"value": said}, **ALLOWED) == ["1"]
    assert listed(database_url, arguments={"value": said + "x"}, **ALLOWED) == []


ODD: tuple[Any, ...] = (
    {"value": None},
    {"value": ["x"]},
    {"value": {"x": 1}},
    {"value": "\x00x"},
    {"other": "\x00", "value": "x"},
    {"value": "\ud800x"},
    {"value": "x", "\udfff": 1},
    ["value", "x"],
    "value",
    7,
    {"value": [[[["x"]]]]},
)


@pytest.mark.parametrize("said", ["x", "null", "None", '["x"]', "\x00x", "value"])
def test_arguments_of_any_form_break_no_search(database_url: str, said: str) -> None:
    """PostgreSQL takes no NUL and no half of a character out of JSON, and fails the whole statement."""
    add(
        database_url,
        *(row(f"{number}", kwargs=kwargs) for number, kwargs in enumerate(ODD)),
        row("sound", kwargs={"value": "x"}),
    )
    found = listed(database_url, arguments={"value": said}, **ALLOWED)
    assert "sound" in found if said == "x" else found == []


@pytest.mark.parametrize("allowed", [(), ("order",)])
def test_only_arguments_that_the_settings_name_may_be_searched(allowed: tuple[str, ...]) -> None:
    with pytest.raises(NotSearchable, match="by 'who': have it among the names in PENSTOCK_SEARCHABLE"):
        JobFilter(arguments={"who": "ada"}, searchable=allowed)


def test_an_argument_is_looked_for_so_far_and_its_cursor_goes_on(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "LOOKED_AT", 3)
    add(database_url, *(row(f"new-{number}", minute=number, kwargs={"order": 1}) for number in range(4)))
    add(database_url, row("old", minute=9, kwargs={"order": 2}))
    chosen = JobFilter(arguments={"order": "2"}, **ALLOWED)
    with reading(database_url) as connection:
        first = list_jobs(connection, chosen, 10)
        assert (first.jobs, first.is_cut_short, first.after) == ([], True, Place(NOW - timedelta(minutes=2), "new-2"))
        assert [job.id for job in list_jobs(connection, chosen, 10, first.after).jobs] == ["old"]


def test_a_full_page_is_not_cut_short(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LOOKED_AT", 3)
    add(database_url, *(failed(f"{number}", number, "disk full") for number in range(5)))
    with reading(database_url) as connection:
        page = list_jobs(connection, JobFilter(error="disk full"), 1)
    assert ([job.id for job in page.jobs], page.is_cut_short) == (["0"], False)


def test_nobody_counts_on_beyond_a_bound(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "COUNTED", 3)
    add(database_url, *(row(str(number)) for number in range(5)), *(failed(f"f{number}") for number in range(3)))
    expected = Counts({State.SUCCEEDED: 3, State.FAILED: 3}, frozenset({State.SUCCEEDED}))
    assert counted(database_url) == expected


def test_counts_of_what_was_not_looked_at_to_the_end_are_at_least(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "LOOKED_AT", 3)
    add(database_url, *(failed(str(number), number) for number in range(5)))
    at_least = frozenset({State.FAILED})
    assert counted(database_url, error=PRINT) == Counts({State.FAILED: 5})
    assert counted(database_url, error="refused") == Counts({State.FAILED: 3}, at_least)


def test_a_beginning_that_too_many_ids_have_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LOOKED_AT", 3)
    add(database_url, *(row(f"a{number}") for number in range(4)))
    with pytest.raises(TooManyJobs, match="more than 3 ids begin with 'a'; give more of it"):
        listed(database_url, id_prefix="a")
    assert listed(database_url, id_prefix="a3") == ["a3"]


@pytest.mark.parametrize("id", ["plain", "with blanks and ünicode", "日本", ""])
def test_a_cursor_comes_back_as_the_place_that_it_was(id: str) -> None:
    place = Place(datetime(2026, 11, 23, 2, 30, 23, 123456, tzinfo=UTC), id)
    assert Place.of(place.cursor) == place
    assert place.cursor.isascii()


@pytest.mark.parametrize("cursor", ["", "nothing", "!", "MQ", "eHl6IDE", "ZmZmZmZmZmZmZmZmZmZmZmZm IDE", "Zg" * 9000])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor, match="is no cursor"):
        Place.of(cursor)


def test_the_first_and_the_last_change_are_known(database_url: str) -> None:
    with reading(database_url) as connection:
        assert search.span_of_jobs(connection) == (None, None)
    add(database_url, row("1", State.QUEUED, 7), row("2", minute=3), row("3", State.RUNNING, 5))
    with reading(database_url) as connection:
        assert search.span_of_jobs(connection) == (NOW - timedelta(minutes=7), NOW - timedelta(minutes=3))


COMBINATIONS = [
    JobFilter(**given)  # type: ignore[arg-type]
    for given in (
        {},
        {"states": (State.FAILED,)},
        {"task": "t", "states": (State.FAILED,)},
        {"task": "t"},
        {"task": "t", "queue": "web"},
        {"queue": "web", "states": (State.FAILED,)},
        {"schedule": "s"},
        {"error": PRINT},
        {"error": PRINT, "task": "t"},
        {"error": "some text"},
        {"error": "some text", "task": "t", "states": (State.FAILED,)},
        {"id_prefix": "1"},
        {"id_prefix": "123", "states": (State.FAILED,)},
        {"tag": "seventh"},
        {"tag": "no-such"},
        {"tag": "no-such", "states": (State.FAILED,)},
        {"tag": "no-such", "queue": "default"},
        {"tag": "no-such", "task": "t"},
        {"tag": "no-such", "error": "some text"},
        {"arguments": {"order": "no-such"}, "searchable": ("order",)},
        {"arguments": {"order": "no-such"}, "searchable": ("order",), "tag": "seventh", "task": "t"},
    )
]


@pytest.fixture(scope="module", params=["old statistics", "new statistics"])
def many(request: pytest.FixtureRequest, new_ledger: NewLedger) -> Iterator[str]:
    """So many jobs on PostgreSQL that its planner has a choice; of one job at the beginning it is told, or of all."""
    with new_ledger("postgresql") as url:
        add(url, row("first"))
        engine = engine_for(url).execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("ALTER TABLE jobs SET (autovacuum_enabled = off)"))
            connection.execute(text("ANALYZE jobs"))
            # Those that ended well come last, in the order in which a scan of the table would meet them.
            for states in ("WHERE n % 3 = 0", "WHERE n % 3 > 0"):
                connection.execute(text(MANY + states), {"print": PRINT})
            if request.param == "new statistics":
                connection.execute(text("VACUUM ANALYZE jobs"))
        yield url


MANY = (
    "INSERT INTO jobs (id, task, queue, state, error_type, error_fingerprint, tags, kwargs, finished_at, updated_at) "
    "SELECT n::text, 't', 'default', CASE WHEN n % 3 > 0 THEN 'succeeded' ELSE 'failed' END, "
    "CASE WHEN n % 3 = 0 THEN 'ValueError' END, CASE WHEN n % 3 = 0 THEN :print END, "
    "CASE WHEN n % 7 = 0 THEN ' seventh ' END, json_build_object('order', n), "
    "now(), now() - n * interval '1 second' FROM generate_series(1, 40000) AS n "
)


@pytest.mark.parametrize("with_window", [False, True], ids=["at any time", "in a window"])
@pytest.mark.parametrize("chosen", COMBINATIONS, ids=str)
def test_no_list_and_no_count_reads_or_sorts_the_whole_table(many: str, chosen: JobFilter, with_window: bool) -> None:
    if with_window:
        chosen = replace(chosen, since=NOW - timedelta(days=900), until=datetime.now(UTC) + timedelta(days=1))
    for node, read in tables_read(plans_of(many, partial(list_and_count, chosen=chosen))):
        assert node["Node Type"] != "Seq Scan", node
        assert read <= max(search.COUNTED, search.LOOKED_AT) + 1, node


def list_and_count(connection: Connection, chosen: JobFilter) -> None:
    with suppress(TooManyJobs):
        list_jobs(connection, chosen, 50)
        count_by_state(connection, chosen)
