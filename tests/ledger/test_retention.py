"""What the rules say, and what a sweep deletes by them, on each database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Table, event, func, insert, select, text

from penstock.job import FINAL, State
from penstock.ledger import retention
from penstock.ledger.retention import sweep, sweep_each, sweeps
from penstock.ledger.session import engine_for, reading, writing
from penstock.ledger.tables import (
    FireState,
    attempts,
    audit,
    counted,
    counters,
    dead_letters,
    failure_hours,
    fires,
    groups,
    job_logs,
    job_reports,
    jobs,
    metadata,
    outbox,
    queue_counts,
    queue_depths,
)
from penstock.retention import DEFAULT, RetentionRules, Thing, read_rules

EVERYTHING = RetentionRules({name: timedelta(hours=1) for name in DEFAULT.ages}, (("*", timedelta(hours=1)),))
"""The shortest rules that there can be."""


def ago(**age: float) -> datetime:
    return datetime.now(UTC) - timedelta(**age)


def add(url: str, table: Table, *rows: dict[str, Any]) -> None:
    with writing(url) as connection:
        connection.execute(insert(table), list(rows))


def job(id: str, state: State = State.SUCCEEDED, days: float = 31, task: str = "t", **values: Any) -> dict[str, Any]:
    """A job that came into its state so many days ago."""
    at = ago(days=days)
    times = {"started_at": at, "finished_at": at if state.is_final else None}
    reason = "unknown task" if state is State.BLOCKED else None
    fixed = {"id": id, "task": task, "state": state.value, "updated_at": at, "reason": reason, "group_id": None}
    return {**fixed, **times, **values}


def left(url: str, column: Any = jobs.c.id) -> set[Any]:
    with reading(url) as connection:
        return set(connection.execute(select(column)).scalars())


def swept(url: str, spec: str = "", limit: int = 1000) -> dict[str, int]:
    with writing(url) as connection:
        return dict(sweep_each(connection, read_rules(spec), limit))


# -- rules ------------------------------------------------------------------------------------------------------------


def test_what_is_not_named_keeps_its_default() -> None:
    rules = read_rules("succeeded=7d, failed=forever,counters=36h,audit=2w")
    assert rules.ages == {
        **DEFAULT.ages,
        "succeeded": timedelta(days=7),
        "failed": None,
        "counters": timedelta(hours=36),
        "audit": timedelta(days=14),
    }


def test_rules_read_what_they_write() -> None:
    spec = "succeeded=7d,failed=forever,task:a.*=1d,task:b=2h"
    assert read_rules(str(read_rules(spec))) == read_rules(spec)
    assert read_rules("") == DEFAULT


@pytest.mark.parametrize(
    ("task", "days"), [("reports.sales", 1), ("reports.", 1), ("reports", 30), ("Reports.x", 30), ("billing.pay", 365)]
)
def test_the_first_pattern_that_fits_a_task_counts_before_the_rule_of_its_state(task: str, days: int) -> None:
    rules = read_rules("task:reports.*=1d,task:billing.*=365d,task:*.pay=2d")
    assert rules.of_job(task, State.SUCCEEDED) == timedelta(days=days)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ValueError) as raised:
        read_rules("succeeded,running=1d,failed=soon,task:=1d,audit=10m,letters=9999d,groups=")
    problems = str(raised.value).split("; ")
    for part in ("'succeeded' is not name", "'running' is none of", "'failed=soon': give", "'task:=1d' names no task"):
        assert any(part in problem for problem in problems), part
    for part in ("audit=10m", "letters=9999d", "'groups=' is not name"):
        assert part in str(raised.value)


# -- jobs -------------------------------------------------------------------------------------------------------------


def test_only_ended_jobs_that_are_old_enough_go(database_url: str) -> None:
    add(
        database_url,
        jobs,
        job("succeeded, old"),
        job("succeeded, recent", days=29),
        job("cancelled, old", State.CANCELLED),
        job("failed, not old enough", State.FAILED),
        job("failed, old", State.FAILED, days=91),
    )
    assert swept(database_url) == {"succeeded": 1, "cancelled": 1, "failed": 1}
    assert left(database_url) == {"succeeded, recent", "failed, not old enough"}


def test_what_has_not_ended_stays_whatever_the_rules_say(database_url: str) -> None:
    open_ = [job(state.value, state, days=4000) for state in sorted(set(State) - FINAL)]
    add(database_url, jobs, *open_, *(job(state.value, state, days=1) for state in sorted(FINAL)))
    with writing(database_url) as connection:
        assert sweep(connection, EVERYTHING) == len(FINAL)
    assert left(database_url) == {state.value for state in set(State) - FINAL}


def test_a_task_may_have_its_jobs_kept_shorter_or_longer(database_url: str) -> None:
    for task in ("reports.sales", "billing.pay", "other"):
        for days in (2, 40, 400):
            add(database_url, jobs, job(f"{task} {days}", days=days, task=task))
    assert swept(database_url, "task:reports.*=1d,task:billing.*=365d") == {"succeeded": 6}
    assert left(database_url) == {"billing.pay 2", "billing.pay 40", "other 2"}


def test_forever_is_for_ever(database_url: str) -> None:
    add(database_url, jobs, job("1", days=3600), job("2", days=3600, task="other"))
    assert swept(database_url, "succeeded=forever,task:other=1d") == {"succeeded": 1}
    assert left(database_url) == {"1"}


def test_attempts_go_with_their_job(database_url: str) -> None:
    add(database_url, jobs, job("old"), job("recent", days=1))
    add(database_url, attempts, *({"job_id": id, "number": 1, "started_at": ago(days=1)} for id in ("old", "recent")))
    swept(database_url)
    assert left(database_url, attempts.c.job_id) == {"recent"}


def test_jobs_of_a_chord_stay_until_its_body_has_been_on_its_way_for_long_enough(database_url: str) -> None:
    add(
        database_url,
        jobs,
        *(job(f"{group} {number}", group_id=group) for group in ("open", "just fired", "fired") for number in range(2)),
        job("of a group that is no chord", group_id="gone"),
    )
    fired = {"open": None, "just fired": ago(hours=2), "fired": ago(days=2)}
    add(
        database_url,
        counters,
        *(
            {"id": id, "total": 2, "remaining": 0 if at else 1, "created_at": ago(days=40), "fired_at": at}
            for id, at in fired.items()
        ),
    )
    add(database_url, counted, *({"counter_id": id, "job_id": f"{id} {n}"} for id in fired for n in range(2)))
    # The jobs of the chord that fired go in the sweep after that of its counter.
    assert swept(database_url) == {"succeeded": 1, "counters": 3}
    assert swept(database_url) == {"succeeded": 2}
    assert left(database_url) == {f"{id} {number}" for id in ("open", "just fired") for number in range(2)}
    assert left(database_url, counted.c.counter_id) == {"open", "just fired"}


def test_a_job_stays_while_the_outbox_has_a_message_of_it(database_url: str) -> None:
    """Without the row the message would be put back into Redis, and run."""
    add(database_url, jobs, job("1"), job("2"))
    message = {
        "key": "1",
        "job_id": "1",
        "task": "t",
        "queue": "q",
        "step": 0,
        "payload": b"",
        "created_at": ago(days=40),
    }
    add(database_url, outbox, {**message, "published_at": ago(days=40)})
    assert swept(database_url) == {"succeeded": 1}
    assert left(database_url) == {"1"}


def test_a_batch_has_at_most_so_many_rows_the_oldest_first(database_url: str) -> None:
    add(database_url, jobs, *(job(str(number), days=40 + number) for number in range(5)), job("x", task="u"))
    add(database_url, audit, {"at": ago(days=400), "actor": "a", "action": "b"})
    assert swept(database_url, limit=2) == {"succeeded": 2}
    assert left(database_url) == {"0", "1", "2", "x"}
    assert [sum(swept(database_url, limit=2).values()) for _ in range(4)] == [2, 2, 1, 0]


def test_sweeps_are_transactions_of_their_own_until_nothing_is_left(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    add(database_url, jobs, *(job(str(number)) for number in range(7)))
    seen = [(batch.total(), len(left(database_url))) for batch in sweeps(database_url, DEFAULT)]
    assert seen == [(3, 4), (3, 1), (1, 0)]


def test_a_sweep_waits_for_nobody(postgresql_url: str) -> None:
    """Whoever holds a row goes on holding it, and the sweep takes the others."""
    add(postgresql_url, jobs, *(job(str(number)) for number in range(3)))
    with writing(postgresql_url) as holder:
        holder.execute(select(jobs).where(jobs.c.id == "1").with_for_update())
        other = engine_for(f"{postgresql_url}{'&' if '?' in postgresql_url else '?'}application_name=sweeper")
        with other.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            assert sweep(connection, DEFAULT) == 2
    assert left(postgresql_url) == {"1"}


def test_a_batch_reads_no_more_than_it_deletes(postgresql_url: str) -> None:
    """By each task and state: rows that stay longer are not read again and again."""
    with writing(postgresql_url) as connection:
        connection.execute(
            text(
                "INSERT INTO jobs (id, task, state, finished_at, updated_at) SELECT n::text, "
                "CASE WHEN n < 20000 THEN 'kept' ELSE 'gone' END, 'succeeded', "
                "now() - interval '99 days', now() - interval '99 days' + n * interval '1 second' "
                "FROM generate_series(1, 21000) AS n"
            )
        )
    with engine_for(postgresql_url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE jobs"))
    with writing(postgresql_url) as connection:
        before = _rows_read(connection)
        assert sweep(connection, read_rules("task:kept=forever"), 100) == 100
        assert _rows_read(connection) - before < 1000


def _rows_read(connection: Any) -> int:
    """Of this transaction so far."""
    statement = "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'jobs'"
    return int(connection.execute(text(statement)).scalar_one())


# -- the rest ---------------------------------------------------------------------------------------------------------


def letter(id: str, days: float, resolution: str | None) -> dict[str, Any]:
    """A dead letter of a year ago, settled so many days ago."""
    return {
        "id": id,
        "kind": "buried",
        "queue": "q",
        "step": 0,
        "reason": "r",
        "payload": b"",
        "deliveries": 1,
        "at": ago(days=365),
        "resolution": resolution,
        "resolved_at": ago(days=days) if resolution else None,
    }


def test_settled_dead_letters_go_and_open_ones_stay(database_url: str) -> None:
    add(
        database_url,
        dead_letters,
        letter("open", 0, None),
        letter("replayed long ago", 91, "replayed"),
        letter("discarded long ago", 91, "discarded"),
        letter("replayed lately", 89, "replayed"),
    )
    assert swept(database_url) == {"letters": 2}
    assert left(database_url, dead_letters.c.id) == {"open", "replayed lately"}


def test_the_parts_of_a_chord_count_as_rows_of_a_batch(database_url: str) -> None:
    add(
        database_url,
        counters,
        {"id": "c", "total": 5, "remaining": 0, "created_at": ago(days=9), "fired_at": ago(days=9)},
    )
    add(database_url, counted, *({"counter_id": "c", "job_id": str(number)} for number in range(5)))
    assert [swept(database_url, limit=2) for _ in range(4)] == [{"counters": 2}] * 3 + [{}]
    assert left(database_url, counters.c.id) == set()


def test_saved_groups_audit_and_counts_of_failures_go_by_their_age(database_url: str) -> None:
    add(database_url, groups, *({"id": str(days), "members": [], "created_at": ago(days=days)} for days in (29, 31)))
    add(database_url, audit, *({"at": ago(days=days), "actor": str(days), "action": "b"} for days in (364, 366)))
    hours = [
        {"fingerprint": "f", "task": "t", "hour": ago(days=days), "shard": 0, "count": 1, "first_at": ago(days=days)}
        | {"last_at": ago(days=days), "job_id": str(days)}
        for days in (89, 91)
    ]
    add(database_url, failure_hours, *hours)
    assert swept(database_url) == {"failures": 1, "groups": 1, "audit": 1}
    kept = [left(database_url, column) for column in (groups.c.id, audit.c.actor, failure_hours.c.job_id)]
    assert kept == [{"29"}, {"364"}, {"89"}]


def fire(days: float, state: FireState, **values: Any) -> dict[str, Any]:
    """A fire that was decided on so many days ago; its schedule is called as its state."""
    job_id = f"{state} {days}" if state is FireState.FIRED else None
    times = {"planned_at": ago(days=400 + days), "decided_at": ago(days=days)}
    fixed = {"schedule": state.value, "origin": "planned", "reason": "r", "is_followed": False}
    return {**fixed, **times, "state": state.value, "job_id": job_id, **values}


def test_fires_go_by_when_they_were_decided_on(database_url: str) -> None:
    ended = sorted(set(FireState) - {FireState.WAITING})
    add(database_url, fires, *(fire(days, state) for state in ended for days in (89, 91)))
    assert swept(database_url) == {"fires": len(ended)}
    assert min(left(database_url, fires.c.decided_at)) > ago(days=90)


def test_a_fire_that_waits_or_whose_job_is_waited_for_stays(database_url: str) -> None:
    add(database_url, fires, fire(400, FireState.WAITING), fire(400, FireState.FIRED, is_followed=True))
    add(database_url, fires, fire(401, FireState.FIRED))
    assert swept(database_url) == {"fires": 1}
    assert left(database_url, fires.c.state) == {"waiting", "fired"}


def test_what_was_measured_of_queues_stays_for_two_days(database_url: str) -> None:
    key = {"queue": "q", "seconds": 60}
    counts = {"writer": "w", "succeeded": 0, "failed": 0, "cancelled": 0, "retried": 0, "waits": {}, "runs": {}}
    depths = dict.fromkeys(("ready", "parked", "blocked", "in_flight", "accepted"), 0)
    for hours in (47, 49, 50):
        at = ago(hours=hours)
        add(database_url, queue_counts, {**key, "at": at, **counts})
        add(database_url, queue_depths, {**key, "at": at, **depths, "sampled_at": at})
    assert [swept(database_url, limit=3) for _ in range(3)] == [{"series": 3}, {"series": 1}, {}]
    assert [len(left(database_url, table.c.at)) for table in (queue_counts, queue_depths)] == [1, 1]


def test_what_jobs_have_said_goes_with_them_in_batches_before_their_rows(database_url: str) -> None:
    add(database_url, jobs, job("old"), job("young", days=1), job("in a chord", group_id="g"))
    add(database_url, counters, {"id": "g", "total": 2, "remaining": 1, "created_at": ago(days=1)})
    ids = ("old", "young", "in a chord")
    add(database_url, job_reports, *({"job_id": id, "began": 1, "lines": 9} for id in ids))
    chunks = [{"job_id": id, "began": 1, "place": place, "last": 9, "lines": []} for id in ids for place in range(5)]
    add(database_url, job_logs, *chunks)
    batches = [swept(database_url, limit=3) for _ in range(4)]
    assert batches == [{"reports": 3}, {"reports": 3}, {"succeeded": 1}, {}]
    assert left(database_url) == {"young", "in a chord"}
    assert left(database_url, job_logs.c.job_id) == left(database_url, job_reports.c.job_id) == {"young", "in a chord"}


def test_every_table_is_kept_or_swept_on_purpose() -> None:
    """A table that is new belongs to one of these."""
    swept_ones = {jobs, attempts, failure_hours, dead_letters, counters, counted, groups, fires, audit}
    swept_ones |= {queue_counts, queue_depths, job_reports, job_logs}
    # A schedule goes when its declaration goes or somebody removes it; schedulers forget each other.
    empties_itself, never = {"outbox", "beats"}, {"tallies", "schedules"}
    assert {table.name for table in swept_ones} | empties_itself | never == set(metadata.tables)
    assert set(retention._THINGS) == set(Thing)


def test_nothing_to_delete_costs_a_few_looks_at_indexes(database_url: str) -> None:
    add(database_url, jobs, *(job(str(number), days=1, task=f"t{number}") for number in range(20)))
    statements: list[str] = []
    engine = engine_for(database_url)

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        with writing(database_url) as connection:
            assert sweep(connection, DEFAULT) == 0
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert len(statements) < 14
    with reading(database_url) as connection:
        assert connection.execute(select(func.count()).select_from(jobs)).scalar_one() == 20
