"""What type checkers know of an application's calls. Nothing here runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, assert_type

from penstock import BoundCall, Job, Retry, Task, as_ended, enqueue_many, task
from penstock.breaker import Breaker


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
assert_type(as_ended([ship.enqueue(Order(1, Decimal(1)))], timeout=10), Iterator[Job[Order]])
assert_type(Job[Order]("id", "name").result(10), Order)


async def in_a_coroutine() -> None:
    assert_type(await price_of(Order(1, Decimal(1))), Decimal)
    assert_type(await ship.aenqueue(Order(1, Decimal(1))), Job[Order])
    assert_type(await ship.options(delay=60).aenqueue(Order(1, Decimal(1))), Job[Order])
    assert_type(await (await count.aenqueue("a", "b")).aresult(10), int)


def any_task(declared: Task[..., Any]) -> Job[Any]:
    return declared.enqueue(1, 2)


any_task(ship)
