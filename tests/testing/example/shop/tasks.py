"""What the shop does in the background."""

import os
from dataclasses import dataclass
from pathlib import Path

from penstock import Retry, current_job, task


@dataclass
class Order:
    """An order, as a task gets it."""

    number: int
    cents: int


class BankBusy(Exception):
    """The bank does not answer."""


def book(line: str) -> None:
    """Writes a line into the shop's books, which outlive everybody."""
    with Path(os.environ["SHOP_BOOKS"]).open("a") as books:
        books.write(f"{line}\n")


def ask_bank(order: Order) -> None:
    """Takes the money; tests put something else in its place."""
    book(f"paid {order.number}")


async def ask_bank_kindly(number: int) -> None:
    """Takes the money, and waits for it."""
    book(f"paid {number}")


@task(queue="money")
async def charge_kindly(number: int) -> None:
    await ask_bank_kindly(number)
    book(f"noted {number}")


@task(queue="mail", tags=["mail"])
def welcome(user_id: int, template: str = "default") -> str:
    return f"{template} to {user_id}"


@task(queue="money", retry=Retry(attempts=3, base=10, jitter=False, on=(BankBusy,)))
def charge(order: Order) -> int:
    ask_bank(order)
    thank.enqueue(order.number)
    return order.cents


@task(queue="money", retry=Retry(backoff="constant", base=60, jitter=False, on=(BankBusy,), deadline=600))
def charge_soon(number: int) -> None:
    ask_bank(Order(number, 100))


@task(queue="mail")
async def thank(number: int) -> str:
    return f"thank you for {number}"


@task(queue="money")
def refuse(number: int) -> None:
    raise ValueError(f"no money for {number}")


@task()
async def count_down(number: int) -> int:
    """Each number has the next one counted by another job, and waits for it."""
    if not number:
        return 0
    job = await count_down.aenqueue(number - 1)
    return 1 + await job.aresult(5)


@task()
def report(kind: str) -> str:
    book(f"report {kind}")
    return kind


@task(queue="money")
def pay_once(number: int) -> str:
    """As often as it starts, the money moves once: the books say whether it has."""
    books = Path(os.environ["SHOP_BOOKS"])
    if f"paid {number}" not in (books.read_text().splitlines() if books.exists() else []):
        book(f"paid {number}")
    return "paid"


@task(queue="money")
def pay_carelessly(number: int) -> int:
    """Moves the money at each start."""
    book(f"paid {number}")
    running = current_job()
    return running.attempt if running else 0
