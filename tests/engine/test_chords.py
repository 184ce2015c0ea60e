"""Chords on the ledger with a real worker: what Celery's canvas can weave, and every way in which a part may end."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from celery.canvas import Signature
from celery.exceptions import ChordError
from celery.result import AsyncResult, GroupResult
from sqlalchemy import text

from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.rows import JobRow
from penstock.ledger.session import reading
from tests.conftest import NewLedger
from tests.engine import weaving
from tests.engine.station import Station
from tests.engine.test_kill_steps import closed_books, kill_all_of, someone_waits_to_write
from tests.engine.test_lost_workers import killed_at_the_end
from tests.live import ROOT, Worker, wait_for

pytestmark = pytest.mark.slow
PATIENCE = 40


@pytest.fixture(scope="module")
def place(folder: Path, new_ledger: NewLedger) -> Iterator[Station]:
    """A Redis for the module, and a ledger on PostgreSQL."""
    with new_ledger("postgresql") as ledger, Station(folder, ledger=ledger) as made:
        weaving.declare(made.app)
        yield made


@pytest.fixture(scope="module")
def worker(place: Station) -> Iterator[Worker]:
    with killed_at_the_end(
        place.worker("-Q", "celery,other", app="weaving", children=2, options={"crash_limit": 1})
    ) as started:
        yield started


class Weaver:
    """Signatures of the tasks."""

    def __init__(self, place: Station) -> None:
        self._app = place.app

    def __getattr__(self, name: str) -> Callable[..., Signature]:
        task = self._app.tasks[f"weaving.{name}"]
        return lambda *args, **options: task.si(*args).set(**options) if args else task.s().set(**options)

    def plus(self, number: int) -> Signature:
        """Adds a number to what comes before."""
        return self._app.tasks["weaving.add"].s(number)

    def given(self) -> Signature:
        """Gives what comes before."""
        return self._app.tasks["weaving.give"].s()


Weave = Callable[[Weaver], Any]


def pair(w: Weaver) -> list[Signature]:
    return [w.add(1, 1), w.add(2, 2)]


def inner(w: Weaver) -> Any:
    return chord(pair(w), w.total())


GOOD: dict[str, tuple[Weave, Any]] = {
    "two parts": (lambda w: chord(pair(w), w.total()), 6),
    "in order": (lambda w: chord((w.add(i, 0) for i in range(30)), w.given()), list(range(30))),
    "one part": (lambda w: chord([w.add(1, 1)], w.given()), [2]),
    "no parts": (lambda w: chord([], w.total()), 0),
    "many parts": (lambda w: chord((w.add(i, 0) for i in range(200)), w.total()), sum(range(200))),
    "chains as parts": (lambda w: chord([chain(w.add(i, 1), w.plus(10)) for i in range(3)], w.given()), [11, 12, 13]),
    "chord as part": (lambda w: chord([inner(w), w.add(10, 10)], w.given()), [6, 20]),
    "chord in a chord in a chord": (
        lambda w: chord([chord([inner(w), w.add(1, 0)], w.total()), w.add(2, 0)], w.given()),
        [7, 2],
    ),
    # As Celery flattens it: what is in a group stands backwards.
    "group as part": (lambda w: chord([group(pair(w)), w.add(10, 10)], w.given()), [4, 2, 20]),
    "group at the end of a part": (
        lambda w: chord([chain(w.add(1, 1), group(w.plus(1), w.plus(2))), w.add(10, 10)], w.given()),
        [[3, 4], 20],
    ),
    "chain as body": (lambda w: chord(pair(w), chain(w.total(), w.plus(100))), 106),
    "group as body": (lambda w: chord(pair(w), group(w.total(), w.given())), [6, [2, 4]]),
    "chord as body": (lambda w: chord(pair(w), chord([w.total(), w.total()], w.given())), [6, 6]),
    "group before a task": (lambda w: group(pair(w)) | w.total(), 6),
    "in a chain": (lambda w: chain(w.add(1, 1), group(w.plus(10), w.plus(20)), w.total(), w.plus(1000)), 1034),
    "two groups in a row": (lambda w: chain(group(pair(w)), group(w.total(), w.total())), [6, 6]),
    "two chords in a row": (lambda w: chain(group(pair(w)), w.total(), group(w.plus(1), w.plus(2)), w.total()), 15),
    "parts that ignore their results": (lambda w: chord([w.quiet(1), w.quiet(2)], w.total()), 3),
    "a part that retries": (lambda w: chord([w.again(1), w.add(1, 1)], w.given()), [1, 2]),
    "a part that snoozes": (lambda w: chord([w.rest(1), w.add(1, 1)], w.given()), [1, 2]),
    "replaced by a task": (lambda w: chord([w.becomes("task", 1), w.add(1, 0)], w.given()), [2, 1]),
    "replaced by a chain": (lambda w: chord([w.becomes("chain", 1), w.add(1, 0)], w.given()), [2, 1]),
    "replaced by a group": (lambda w: chord([w.becomes("group", 1), w.add(1, 0)], w.given()), [[2, 2], 1]),
    "replaced by a chord": (lambda w: chord([w.becomes("chord", 1), w.add(1, 0)], w.given()), [2, 1]),
    "an ignored part": (lambda w: chord([w.skip(), w.add(1, 0)], w.given()), [None, 1]),
    "parts and body in queues of their own": (
        lambda w: chord([w.add(1, 1, queue="other"), w.add(2, 2)], w.total().set(queue="other", priority=9)),
        6,
    ),
}
BAD: dict[str, tuple[Weave, str]] = {
    "a part that fails": (lambda w: chord([w.add(1, 1), w.fail("x")], w.total()), "in a part"),
    "the first of a chain that fails": (
        lambda w: chord([chain(w.fail("x"), w.plus(1)), w.add(1, 1)], w.total()),
        "in a part",
    ),
    "a chain with a group that fails": (
        lambda w: chord([chain(w.fail("x"), group(w.plus(1), w.plus(2))), w.add(1, 1)], w.total()),
        "in a part",
    ),
    "a chord in the header that fails": (
        lambda w: chord([chord([w.fail("x"), w.add(1, 1)], w.total()), w.add(1, 1)], w.total()),
        "in a part",
    ),
    "a chord with a group that fails": (
        lambda w: chord([chord([w.fail("x"), w.add(1, 1)], group(w.total(), w.total())), w.add(1, 1)], w.total()),
        "in a part",
    ),
    "a rejected part": (lambda w: chord([w.refuse(), w.add(1, 1)], w.total()), "not for me"),
    "an expired part": (lambda w: chord([w.add(1, 1, expires=-1), w.add(1, 1)], w.total()), "expired"),
    "a part that cancels itself": (lambda w: chord([w.cancel(), w.add(1, 1)], w.total()), "not wanted"),
    "a part that kills its worker's processes": (lambda w: chord([w.die(), w.add(1, 1)], w.total()), "WorkerLost"),
    "a chord as body": (
        lambda w: chord([w.fail("x"), w.add(1, 1)], chord([w.total(), w.total()], w.given())),
        "in a part",
    ),
    "a chain as body": (lambda w: chord([w.fail("x"), w.add(1, 1)], chain(w.total(), w.plus(1))), "in a part"),
}


@pytest.fixture(scope="module")
def woven(place: Station, worker: Worker) -> dict[str, Any]:
    """The results of all chords, which were sent at once."""
    weaver = Weaver(place)
    return {name: weave(weaver).apply_async() for name, (weave, _) in {**GOOD, **BAD}.items()}


@pytest.mark.parametrize("name", GOOD)
def test_a_chord_gives_what_its_body_makes_of_its_parts(woven: dict[str, Any], name: str) -> None:
    assert woven[name].get(timeout=PATIENCE) == GOOD[name][1]


@pytest.mark.parametrize("name", BAD)
def test_a_part_that_ends_without_a_result_fails_the_body(woven: dict[str, Any], place: Station, name: str) -> None:
    body = place.app.AsyncResult(woven[name].id)
    with pytest.raises(ChordError, match=BAD[name][1]):
        body.get(timeout=PATIENCE)


def row_of(place: Station, id: str) -> JobRow:
    with reading(place.ledger) as connection:
        return wait_for(lambda: queries.find_job(connection, id), f"job {id} is on the books")


def all_have_fired(place: Station) -> bool:
    with reading(place.ledger) as connection:
        return not connection.execute(text("SELECT count(*) FROM counters WHERE remaining > 0")).scalar_one()


def test_no_chord_waits_for_ever_and_no_body_starts_twice(woven: dict[str, Any], place: Station) -> None:
    for name, result in woven.items():
        wait_for(place.app.AsyncResult(result.id).ready if name in BAD else result.ready, name, PATIENCE)
    wait_for(lambda: all_have_fired(place), "no part is missing", PATIENCE)
    starts = [effect["id"] for effect in place.effects(event="start")]
    assert len(set(starts)) == len(starts)


def test_no_job_polls(woven: dict[str, Any], place: Station) -> None:
    """Celery's own job, which joins the parts, has never found them unfinished, and runs once."""
    for name in GOOD:
        woven[name].get(timeout=PATIENCE)
    with reading(place.ledger) as connection:
        found = connection.execute(
            text("SELECT max(attempts), max(retries) FROM jobs WHERE task = 'celery.chord_unlock'")
        )
        assert tuple(found.one()) == (1, 0)


def test_a_body_that_never_started_is_on_the_books_under_its_name(woven: dict[str, Any], place: Station) -> None:
    result = woven["a part that fails"]
    wait_for(result.ready, "the body has failed", PATIENCE)
    row = row_of(place, result.id)
    assert (row.task, row.state, row.attempts) == ("weaving.total", State.FAILED, 0)
    assert "in a part" in (row.error_traceback or "")


def test_errbacks_hear_of_a_body_that_cannot_start(place: Station, worker: Worker) -> None:
    weaver = Weaver(place)
    tasks = place.app.tasks
    body = weaver.total().on_error(tasks["weaving.tell"].s()).on_error(tasks["weaving.tell_more"].s())
    result = chord([weaver.fail("x"), weaver.add(1, 1)], body).apply_async()
    told = wait_for(lambda: two_told(place, result.id), "both have heard", PATIENCE)
    in_place = next(effect for effect in told if "error" in effect)
    assert (in_place["of_task"], "in a part" in in_place["error"]) == ("weaving.total", True)


def two_told(place: Station, id: str) -> list[dict[str, Any]]:
    found = [effect for effect in place.effects(event="told") if effect["of"] == id]
    return found if len(found) == 2 else []


def test_a_part_that_is_revoked_fails_the_body(place: Station, worker: Worker) -> None:
    weaver = Weaver(place)
    parts = [weaver.add(1, 1), weaver.add(2, 2).set(queue="closed")]
    result = chord(parts, weaver.total()).apply_async()
    victim = result.parent.results[1]
    place.app.control.revoke(victim.id)
    place.app.control.add_consumer("closed", destination=None)
    with pytest.raises(ChordError):
        place.app.AsyncResult(result.id).get(timeout=PATIENCE)
    assert row_of(place, victim.id).state is State.CANCELLED


def test_a_part_may_add_others_while_it_runs(place: Station, worker: Worker) -> None:
    weaver = Weaver(place)
    result = chord([weaver.extend(1), weaver.extend(2)], weaver.given()).apply_async()
    assert sorted(result.get(timeout=PATIENCE)) == [1, 2, 101, 102]


STOCK_PRODUCER = """
import sys
from celery import Celery, chord
app = Celery("stock", broker=sys.argv[1], backend=sys.argv[2], set_as_current=True)
parts = [app.signature("weaving.add", args=(number, number), immutable=True) for number in (1, 2)]
result = chord(parts, app.signature("weaving.total")).apply_async()
assert not any(name.startswith("penstock") for name in sys.modules)
print(result.id)
"""


def test_a_chord_of_a_stock_producer_whose_backend_polls_is_fired_as_celery_does(
    place: Station, worker: Worker, tmp_path: Path
) -> None:
    """It sends a ``chord_unlock`` of its own, which finds the results on the ledger; the parts do not count."""
    backend = f"db+sqlite:///{tmp_path / 'results.db'}"
    command = [sys.executable, "-c", STOCK_PRODUCER, place.server.url, backend]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    assert AsyncResult(done.stdout.strip(), app=place.app).get(timeout=PATIENCE) == 6
    assert len(place.starts(done.stdout.strip())) == 1


def test_the_rest_of_a_chain_goes_on_when_its_chord_is_on_another_queue(place: Station, worker: Worker) -> None:
    weaver = Weaver(place)
    woven = chain(group(pair(weaver)), weaver.total().set(queue="other"), weaver.plus(1).set(queue="celery"))
    assert woven.apply_async().get(timeout=PATIENCE) == 7


def test_a_saved_group_with_a_chord_in_it_is_joined_by_whoever_restores_it(place: Station, worker: Worker) -> None:
    weaver = Weaver(place)
    result = group([inner(weaver), weaver.add(1, 1)]).apply_async()
    result.save()
    assert GroupResult.restore(result.id, app=place.app).get(timeout=PATIENCE) == [6, 2]


def test_a_worker_that_dies_after_it_has_joined_the_parts_costs_no_body_and_starts_none_twice(place: Station) -> None:
    """The outcome of the job that joins them is committed, and what it has sent is not in Redis yet."""
    weaver, path = Weaver(place), place.gate("joint")
    with killed_at_the_end(place.worker("-Q", "joint", app="weaving")) as first:
        parts = [weaver.hold(str(path)).set(queue="joint"), weaver.add(1, 1).set(queue="joint")]
        result = chord(parts, weaver.given().set(queue="joint")).apply_async()
        place.started(result.parent.results[0].id)
        place.redis.hset(place.keys.gates, "joint", "{}")  # Or the parts would be joined at once.
        path.touch()
        wait_for(lambda: place.ready("joint"), "the parts have ended", PATIENCE)
        (join,) = place.ready("joint")
        with closed_books(place):
            place.redis.hdel(place.keys.gates, "joint")
            place.redis.lpush(place.keys.wake("joint"), "1")
            wait_for(lambda: someone_waits_to_write(place), "the job that joins them is about to start", PATIENCE)
            # Not a pause: a keeper that waits for Redis would not take the outcome either.
            place.redis.execute_command("ACL", "SETUSER", "default", "-evalsha", "-eval")
        try:
            wait_for(lambda: row_of(place, join).state is State.SUCCEEDED, "the parts are joined", PATIENCE)
            kill_all_of(first)
        finally:
            place.redis.execute_command("ACL", "SETUSER", "default", "+evalsha", "+eval")
    with killed_at_the_end(place.worker("-Q", "joint", app="weaving")):
        assert result.get(timeout=PATIENCE) == [None, 2]
        wait_for(lambda: not place.redis.llen("joint") and not place.held(), "everything is settled", PATIENCE)
    assert len(place.starts(result.id)) == 1
    assert row_of(place, join).attempts == 1
