"""What type checkers know of an application's calls. Nothing here runs."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, assert_type

from penstock import (
    Cancel,
    Discard,
    Job,
    Retry,
    Snooze,
    Task,
    aenqueue_many,
    as_ended,
    current_job,
    enqueue_many,
    task,
)
from penstock.breaker import Breaker
from penstock.cancelling import Meaning
from penstock.progress import Progress
from penstock.task import BoundCall
from penstock.watching import News
from penstock.why.reason import Why


@dataclass
class Order:
    id: int
    price: Decimal


@task(queue="mail", retry=Retry(attempts=8), breaker=Breaker(failures=5, on=(OSError,)), timeout=30)
def ship(order: Order, *, day: date | None = None) -> Order:
    return order


@task()
def count(text: str, *words: str, **weights: float) -> int:
    return text.count(words[0])


@task()
async def price_of(order: Order) -> Decimal:
    return order.price


def pause(attempt: int, error: Exception) -> float:
    return attempt * 2.0


RULES: dict[type[Exception], Retry] = {TimeoutError: Retry(attempts=20, backoff="constant", base=30)}
PATIENT = Retry(backoff=pause, on=(OSError,), never=(PermissionError,), rules=RULES, deadline=3600)


@task(retry=PATIENT, schedule_timeout=600)
def decide(number: int) -> str:
    match number:
        case 1:
            raise Snooze(60)
        case 2:
            raise Snooze(timedelta(hours=1))
        case 3:
            raise Snooze(datetime(2030, 1, 1, tzinfo=UTC))
        case 4:
            raise Discard("nothing to do")
        case 5:
            raise Cancel("not wanted")
        case _:
            return "done"


assert_type(decide.options(schedule_timeout=60).enqueue(1), Job[str])
assert_type(price_of.enqueue(Order(1, Decimal(1))), Job[Decimal])
assert_type(ship(Order(1, Decimal(1))), Order)
assert_type(ship.enqueue(Order(1, Decimal(1)), day=date.today()), Job[Order])
assert_type(ship.delay(Order(1, Decimal(1))), Job[Order])
assert_type(ship.bind(Order(1, Decimal(1))), BoundCall[Order])
assert_type(ship.options(priority=3, tags=["a"]).enqueue(Order(1, Decimal(1))), Job[Order])
assert_type(ship.options(delay=60).bind(Order(1, Decimal(1))), BoundCall[Order])
assert_type(ship.enqueue(Order(1, Decimal(1))).result(timeout=10), Order)
assert_type(ship.enqueue(Order(1, Decimal(1))).refresh(), Job[Order])
assert_type(count.enqueue("a", "b", c=1.5).result(10), int)
assert_type(enqueue_many(ship.bind(Order(1, Decimal(1))) for _ in range(3)), list[Job[Order]])
assert_type(next(as_ended([ship.enqueue(Order(1, Decimal(1)))], timeout=10)), Job[Order])
for ended in as_ended([ship.enqueue(Order(1, Decimal(1)))], timeout=10):
    assert_type(ended, Job[Order])
assert_type(Job[Order]("id", "name").result(10), Order)
assert_type(Job[Order]("id", "name").cancel(reason="wrong month", grace=None), Meaning)
assert_type(Job[Order]("id", "name").progress, Progress | None)
assert_type(Job[Order]("id", "name").logs(level="warning").lines[0].text, str)
assert_type(Job[Order]("id", "name").watch(after=None, timeout=10), Iterator[News])
if (running := current_job()) is not None:
    running.progress(1, total=2.5, note="half")
    assert_type(running.is_cancelled, bool)
assert_type(Job[Order]("id", "name").why(), Why)


async def bound() -> AsyncIterator[BoundCall[Order]]:
    yield ship.bind(Order(1, Decimal(1)))


async def in_a_coroutine() -> None:
    assert_type(await price_of(Order(1, Decimal(1))), Decimal)
    assert_type(await ship.aenqueue(Order(1, Decimal(1))), Job[Order])
    assert_type(await ship.options(delay=60).aenqueue(Order(1, Decimal(1))), Job[Order])
    assert_type(await (await count.aenqueue("a", "b")).aresult(10), int)
    assert_type(await (await count.aenqueue("a", "b")).acancel(), Meaning)
    assert_type(await (await count.aenqueue("a", "b")).awhy(), Why)
    made = await aenqueue_many(count.bind("a", "b") for _ in range(3))
    assert_type(made, list[Job[int]])
    assert_type(await aenqueue_many(bound()), list[Job[Order]])
    async for job in as_ended(made, timeout=10):
        assert_type(await job.aresult(0), int)
    async for news in Job[Order]("id", "name").awatch():
        assert_type(news.progress, Progress | None)


def any_task(declared: Task[..., Any]) -> Job[Any]:
    return declared.enqueue(1, 2)


any_task(ship)
