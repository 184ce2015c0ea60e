"""Mistakes that type checkers see before anything runs; a line whose mistake they do not see is itself an error."""

from datetime import date
from decimal import Decimal

from calls import Order, count, ship

from penstock import Discard, Job, Retry, Snooze, enqueue_many, task

order = Order(1, Decimal(1))

ship.enqueue()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ship.enqueue(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ship.enqueue(order, date.today())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ship.enqueue(order, dya=date.today())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ship.delay(order, day="2026-05-01")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ship.bind("7")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
count.enqueue("a", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ship.options(priority=3).enqueue("7")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ship.options(delay=60).bind()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ship.options(dealy=60)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ship.options(priority="high")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ship.enqueue(order).cancel(grace="10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
enqueue_many([7])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

Retry(atempts=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Retry(backoff="random")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Retry(rules={TimeoutError: 20})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
Snooze("tomorrow")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Discard()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ship.options(schedule_timeout="1m")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

wrong: Job[int] = ship.enqueue(order)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
text: str = count.enqueue("a").result(10)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


@task(quue="mail")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue, reportUntypedFunctionDecorator]
def misspelt() -> None: ...


@task(timeout="30")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def mistimed() -> None: ...


async def in_a_coroutine() -> None:
    await ship.aenqueue(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ship.options(priority=1).aenqueue()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
