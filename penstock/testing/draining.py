"""Runs what waits until nothing is left, and says what is left all the same."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from penstock.broker.keys import FIELD_SEPARATOR
from penstock.testing.attempts import Drained, StillWaiting, Waiting

if TYPE_CHECKING:
    from penstock.testing.bench import Bench
    from penstock.testing.watching import Watch


def drain(bench: Bench, watch: Watch, queues: Sequence[str], timeout: float, now: Callable[[], datetime]) -> Drained:
    """Runs everything that is due on these queues, or on all if none are named.

    Raises:
        StillWaiting: it took longer than ``timeout`` seconds.
        ValueError: nobody knows a queue of this name.
    """
    _insist_on_known(bench, watch, queues)
    deadline = time.monotonic() + timeout
    notes = bench.notes
    first, cancelled = len(notes.attempts), len(notes.cancelled)
    while True:
        bench.fetch()
        if any(bench.count_ready(queue) for queue in queues or bench.queues()):
            insist_on_a_free_ledger(bench, watch)
        if not bench.run_next(queues or bench.queues()):
            break
        if time.monotonic() > deadline:
            left = still_waiting(bench, watch, queues, now())
            raise StillWaiting(
                f"the drain was not over after {timeout:g} s and {len(notes.attempts) - first} attempts; what still "
                f"waits:\n" + ("\n".join(f"  {each}" for each in left) or "  nothing: the last job took the time")
            )
    attempts = notes.attempts[first:]
    return Drained(attempts, notes.cancelled[cancelled:], still_waiting(bench, watch, queues, now()))


def _insist_on_known(bench: Bench, watch: Watch, queues: Sequence[str]) -> None:
    """A test that drains a misspelt queue would pass with nothing done."""
    sent_to = {*bench.queues(), *(sent.queue for sent in watch.sent.values())}
    unsent = [queue for queue in queues if queue not in sent_to]
    if not unsent:
        return
    known = sent_to | _declared(bench.app)
    for queue in unsent:
        if queue not in known:
            close = get_close_matches(queue, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}"
            raise ValueError(f"nothing was sent to a queue {queue!r} in this test, and no task declares it; {hint}")


def _declared(app: Any) -> set[str]:
    """Queues that the settings name, and those on which the app's tasks wait."""
    router, found = app.amqp.router, set(app.amqp.queues)
    for name, task in app.tasks.items():
        own = {"queue": queue} if (queue := getattr(task, "queue", None)) else {}
        with suppress(Exception):  # A function of the application's that routes may want arguments.
            found.add(router.route(own, name)["queue"].name)
    return found


def insist_on_a_free_ledger(bench: Bench, watch: Watch) -> None:
    """SQLite has one writer at a time: what runs here could not be recorded, and would wait for itself.

    Raises:
        StillWaiting: a transaction with a job of the test's is open.
    """
    open_ones, _ = watch.standing() if bench.is_on_sqlite else (set(), set())
    if open_ones:
        raise StillWaiting(
            f"a transaction with {watch.sent[min(open_ones)].task} is open, and SQLite lets nobody else write "
            "meanwhile: commit it or roll it back before jobs run, or give the tests a PostgreSQL by DATABASE_URL"
        )


def still_waiting(bench: Bench, watch: Watch, queues: Sequence[str], now: datetime) -> list[Waiting]:
    """What is left on these queues, or on all, and why."""
    chosen = queues or bench.queues()
    left = [each for queue in chosen for each in _of_queue(bench, queue, now)]
    waiting, _ = watch.standing()
    for id in waiting:
        sent = watch.sent[id]
        if not queues or sent.queue in queues:
            left.append(Waiting(sent.queue, f"{sent.task} is in a transaction that nobody has committed"))
    return left


def _of_queue(bench: Bench, queue: str, now: datetime) -> Iterator[Waiting]:
    client: Any = bench.scripts.client
    keys = bench.scripts.keys
    ready = bench.count_ready(queue)
    if ready and (closed := client.hget(keys.gates, queue)) is not None:
        yield Waiting(queue, f"{ready} wait because the queue is paused{_note(closed)}")
    elif ready:
        yield Waiting(queue, f"{ready} are ready")
    for member, score in client.zrange(keys.parked(queue), 0, -1, withscores=True):
        due = datetime.fromtimestamp(score / 1000, UTC)
        task = _task(member)
        yield Waiting(queue, f"{task} is due in {(due - now).total_seconds():.0f} s; jobs.clock can be moved", due)
    for name, field in client.hgetall(keys.unknown).items():
        task, of, _ = field.decode().split(FIELD_SEPARATOR)
        if of == queue:
            count = client.llen(name)
            yield Waiting(queue, f"{count} wait for a worker that knows the task {task}; the app has not imported it")


def _note(gate: bytes) -> str:
    try:
        note = json.loads(gate).get("note")
    except (ValueError, AttributeError):
        return ""
    return f" ({note})" if note else ""


def _task(member: bytes) -> str:
    """Of a parked message."""
    try:
        return str(json.loads(member.split(FIELD_SEPARATOR.encode(), 2)[2])["headers"]["task"])
    except (ValueError, LookupError, TypeError):
        return "a message"
