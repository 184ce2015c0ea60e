"""A deployment with as much of everything as is asked for, as its processes would have left it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert

from penstock.app import PenstockApp
from penstock.broker import queues
from penstock.broker.scripts import Scripts, Settlement, Source
from penstock.job import Reason, State
from penstock.ledger import fires, letters, queries
from penstock.ledger.fires import FireRow, FireState, Origin
from penstock.ledger.histogram import bucket_of
from penstock.ledger.minutes import MINUTE, Counts, Depth, Span, write_counts, write_depths
from penstock.ledger.reports import write_chunks, write_reports
from penstock.ledger.rows import DeadLetter, Failure, Outcome
from penstock.ledger.session import writing
from penstock.ledger.tables import Kind, schedules
from penstock.operations.broker import broker_of
from penstock.scheduler import Every, Schedule
from penstock.scheduler.declarations import new_row
from tests.broker.messages import raw_message
from tests.ledger.making import SUCCEEDED, delivery, end, write

PARENT, MANY = "parent", "many"
PER_QUEUE = 3
LONG_ID, LONG_TASK, LONG_QUEUE = "order-" + "7" * 120, "shop.orders." + "settle_" * 25, "orders-" + "of_everybody_" * 14
LONG_PRINT = "abcdefabcdef"
ADDRESSES = {
    "history": ("/history", "/history?task=t1&state=failed", "/history?error=no+such"),
    "job": (
        f"/job/{PARENT}",
        "/job/failed1",
        "/job/buried1",
        "/job/queue1-1",
        f"/job/{LONG_ID}",
    ),
    "failures": ("/failures", *(f"/failures?view={view}" for view in ("buried", "quarantined", "unknown", "resolved"))),
    "failure": (
        f"/failures/{1:012x}",
        f"/failures/{LONG_PRINT}",
        "/failures/cpu@host/00000001:1:0",
        "/failures/unknown:mail:0:none.such1",
    ),
    "queues": ("/queues",),
    "queue": ("/queues/queue1", "/queues/queue1?window=24h", f"/queues/{LONG_QUEUE}"),
    "schedules": ("/schedules", "/schedules?only=late", "/schedules?name=schedule"),
    "schedule": (f"/schedules/{MANY}", f"/schedules/{MANY}?state=skipped"),
    "unfired": ("/unfired/missed", "/unfired/skipped"),
    "processes": ("/processes",),
    "worker-processes": ("/processes/cpu@host1",),
    "audit": ("/audit", "/audit?view=log", "/audit?view=log&actor=dana1"),
    "errand": ("/errand/an-errand",),
}
"""Of each page some addresses, so that all its views are seen once there is a crowd. A page without one fails tests."""
NOWHERE = {"job": ("/job/nobody", "/job/chil"), "failure": ("/failures/nothing",)}
"""Addresses of what is not there."""


@dataclass(frozen=True)
class Size:
    """How much there is of each thing."""

    jobs: int
    errors: int
    letters: int
    queues: int
    schedules: int
    fires: int
    unknown_tasks: int
    workers: int
    deeds: int


def fill(app: PenstockApp, size: Size) -> None:
    """Adds so much to what there is; what has a name of its own is added once."""
    url = app.settings.database_url
    _add_jobs(url, size)
    _add_a_long_one(url)
    for id in (PARENT, "failed1", LONG_ID):
        _add_reports(url, id, size)
    _add_letters(url, size.letters)
    _add_schedules(url, size)
    with writing(url) as connection:
        for number in range(size.deeds):
            queries.add_audit(
                connection, actor=f"dana{number % 7}", action="retry", job_id=PARENT, details={"n": number}
            )
    with broker_of(app) as scripts:
        _add_queues(url, scripts, size.queues)
        scripts.publish("long", 1, LONG_QUEUE, 0, [("long", raw_message("long", task=LONG_TASK))], 0)
        _add_unknown_tasks(scripts, size.unknown_tasks)
        for number in range(size.workers):
            scripts.join(f"cpu@host{number}/00000001")


def failure(number: int) -> Outcome:
    fields = {"type": f"Error{number}", "message": "no such customer", "fingerprint": f"{number:012x}"}
    return Outcome(state=State.FAILED, reason=Reason.ERROR, failure=Failure(**fields, exception={}))


def _add_reports(url: str, id: str, size: Size) -> None:
    """It has said how far it is, and logged in several attempts."""
    now = datetime.now(UTC)
    began = [int(now.timestamp() * 1000) - 60_000 * number for number in range(min(size.jobs // 10, 8))]
    report = {"job_id": id, "token": None, "done": 30.0, "total": 40.0, "note": "row " * 90, "at": now, "lines": 2000}
    points = [(now.timestamp() - 30 + second, second, 40) for second in range(30)]
    line = (now.timestamp(), 30, "shop.orders." + "long" * 40, "no such customer\n" + "x" * 500)
    with writing(url) as connection:
        write_reports(connection, [{**report, "began": each, "points": points} for each in began])
        for each in began:
            lines = [(number, *line) for number in range(1, 51)]
            rows = [{"job_id": id, "began": each, "place": 0, "last": 50, "lines": lines}]
            write_chunks(connection, rows)


def _add_jobs(url: str, size: Size) -> None:
    write(url, end(delivery(PARENT), SUCCEEDED))
    family = [delivery(f"child{number}", parent_id=PARENT, root_id=PARENT) for number in range(size.jobs // 4)]
    failed = [delivery(f"failed{number}", task=f"t{number % 9}") for number in range(size.jobs)]
    write(url, *(end(each, SUCCEEDED) for each in family))
    write(url, *(end(each, failure(place % size.errors)) for place, each in enumerate(failed)))


def _add_a_long_one(url: str) -> None:
    """A failed job of which all is as long as it may be that people choose."""
    line = '  File "/srv/shop/orders/settling.py", line 7, in settle\n    settle_all(' + "order, " * 20 + ")\n"
    failure = Failure(
        type="shop.orders.OrderOfAnUnknownCustomerCannotBeSettled",
        message="no-such-customer-" * 30,
        traceback="Traceback (most recent call last):\n" + line * 50,
        fingerprint=LONG_PRINT,
        exception={},
    )
    job = delivery(LONG_ID, task=LONG_TASK, queue=LONG_QUEUE, args=["7" * 3000], kwargs={"k" * 90: 1}, tags=("t" * 64,))
    write(url, end(job, Outcome(state=State.FAILED, reason=Reason.ERROR, failure=failure)))


def _add_letters(url: str, count: int) -> None:
    fixed = {"queue": "default", "step": 0, "reason": "its process died 3 times", "payload": b"{}", "deliveries": 3}
    at = datetime.now(UTC)
    found = [
        DeadLetter(
            id=f"cpu@host/00000001:{number}:0", kind=Kind.BURIED, at=at, job=delivery(f"buried{number}"), **fixed
        )
        for number in range(count)
    ]
    with writing(url) as connection:
        letters.bury(connection, found)


def _add_schedules(url: str, size: Size) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    hour = timedelta(hours=1)
    with writing(url) as connection:
        known = set(connection.execute(schedules.select().with_only_columns(schedules.c.name)).scalars())
        for name in [MANY, *(f"schedule{number}" for number in range(size.schedules))]:
            if name not in known:
                row = new_row(Schedule(name=name, task="t", when=Every(3600)), None, now)
                connection.execute(insert(schedules).values(**row))
                fires.insert(connection, [_fire(name, now - hour, FireState.MISSED)])
        more = range(len(fires.list_fires(connection, MANY, 1000)), size.fires)
        states = (FireState.FIRED, FireState.SKIPPED, FireState.WAITING)
        fires.insert(connection, [_fire(MANY, now - (2 + each) * hour, states[each % 3]) for each in more])


def _fire(name: str, planned: datetime, state: FireState) -> FireRow:
    job = f"{name}-{planned.isoformat()}" if state is FireState.FIRED else None
    reason = None if job else "nobody was there"
    return FireRow(
        schedule=name,
        planned_at=planned,
        state=state,
        origin=Origin.PLANNED,
        decided_at=datetime.now(UTC),
        job_id=job,
        reason=reason,
    )


def _add_queues(url: str, scripts: Scripts, count: int) -> None:
    now = datetime.now(UTC)
    begin = int(now.timestamp()) // MINUTE * MINUTE - MINUTE
    spans = [Span(f"queue{number}", MINUTE, begin) for number in range(count)]
    for number, span in enumerate(spans):
        sent = [(f"{span.queue}-{each}", raw_message(f"{span.queue}-{each}")) for each in range(PER_QUEUE)]
        scripts.publish("crowd", number + 1, span.queue, 0, sent, 0)
    times = {bucket_of(0.5): 3}
    with writing(url) as connection:
        write_depths(connection, [(span, Depth(3, 0, 0, 0, 1.0, 3, sampled_at=now)) for span in spans])
        write_counts(connection, "crowd", {span: Counts(3, 1, 0, 0, *_histograms(times)) for span in spans})
    queues.pause(scripts, spans[0].queue, "dana", "")


def _histograms(times: dict[int, int]) -> tuple[Counter[int], Counter[int]]:
    return Counter(times), Counter(times)


def _add_unknown_tasks(scripts: Scripts, count: int) -> None:
    worker, queue = "cpu@host/00000001", "mail"
    scripts.join(worker)
    base = scripts.client.incr("crowd") * 1000
    for number in range(count):
        task = f"none.such{number}"
        scripts.client.lpush(scripts.keys.ready(queue, 0), raw_message(f"unknown{base + number}", task=task))
        (claimed,) = scripts.claim(worker, worker, base + number, [Source(queue, 0)], 1).messages
        scripts.settle([Settlement(worker, queue, claimed.token, "block", task, f"unknown{base + number}")])
