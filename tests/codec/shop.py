"""Tasks of an application with classes of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr
from pydantic.dataclasses import dataclass as pydantic_dataclass

from penstock import Retry, current_job, task

if TYPE_CHECKING:
    from fractions import Fraction

T = TypeVar("T")
Sku = NewType("Sku", str)


class Speed(Enum):
    SLOW = "slow"
    EXPRESS = "express"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Zone(Enum):
    NEAR = (0, 10)
    FAR = (10, 99)


class Mark(Flag):
    FRAGILE = 1
    HEAVY = 2


class Spot(NamedTuple):
    x: Decimal
    y: Decimal


class Home(TypedDict):
    street: str
    moved_in: date
    floor: NotRequired[int]


@dataclass
class Item:
    sku: Sku
    price: Decimal
    quantity: int = 1

    def __post_init__(self) -> None:
        if self.quantity < 1:
            raise ValueError("an item is bought at least once")


@dataclass
class GiftItem(Item):
    ribbon: str = "red"


@dataclass
class Order:
    id: UUID
    placed: datetime
    items: list[Item]
    speed: Speed = Speed.SLOW
    window: tuple[time, time] | None = None
    notes: dict[date, str] = field(default_factory=dict)
    total: Decimal = field(init=False, default=Decimal(0))


@dataclass(frozen=True)
class Tree:
    name: str
    children: tuple[Tree, ...] = ()


@dataclass
class Page(Generic[T]):
    rows: list[T]
    following: int | None = None


class Customer(BaseModel):
    name: str
    born: date
    credit: Decimal = Field(default=Decimal(0), alias="creditLimit")
    places: list[Address] = []


class Address(BaseModel):
    street: str
    number: int


Customer.model_rebuild()


@task()
def ship(order: Order, to: Path, *, speed: Speed = Speed.SLOW, within: timedelta | None = None) -> Order:
    assert type(order) is Order, order
    assert isinstance(to, Path), to
    assert isinstance(within, timedelta | None), within
    return replace(order, speed=speed, items=[replace(item, price=item.price * 2) for item in order.items])


@task()
def greet(customer: Customer, spots: set[Spot]) -> tuple[Customer, frozenset[Spot]]:
    return customer.model_copy(update={"credit": customer.credit + 1}), frozenset(spots)


@task()
def double(amount: Decimal) -> Decimal:
    return amount * 2


@task()
def sum_of(amounts: list[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))


@task()
def tomorrow(day: date) -> date:
    return day + timedelta(days=1)


@task()
def days_of(moments: dict[str, datetime], choice: Literal["first", "last"] = "first") -> Page[date]:
    return Page([each.date() for each in moments.values()])


@task(retry=Retry(attempts=2, base=0.1))
def double_at_second(amount: Decimal) -> Decimal:
    job = current_job()
    assert job is not None
    if job.attempt == 1:
        raise ConnectionError("not yet")
    return amount * 2


@task(retry=Retry(attempts=3, base=0.1))
def promise_a_decimal(value: Any) -> Decimal:
    return value  # type: ignore[no-any-return]


@task()
def collect(*days: date, **prices: Decimal) -> str:
    return f"{min(days) if days else None} {sum(prices.values())}"


@task()
def untyped(value, other=None):  # type: ignore[no-untyped-def]
    return value


@task()
def plain(number: int, names: list[str], options: dict[str, Any] | None = None, ratio: float = 1.0) -> dict[str, int]:
    return dict.fromkeys(names, number)


@task()
def walk(path: str | PurePosixPath) -> str:
    return str(path)


@task()
def count(tree: Tree) -> int:
    return 1 + sum(count(each) for each in tree.children)


@dataclass
class Estranged:
    part: Fraction


@task()
def of_a_stranger(stranger: Fraction, number: int) -> None: ...


@task()
def of_an_estranged(estranged: Estranged) -> None: ...


class Account(BaseModel):
    """Does not write all that it has."""

    name: str
    password: SecretStr = SecretStr("")
    remark: str = Field(default="", exclude=True)


@pydantic_dataclass
class Parcel:
    """Checks its values when it is made."""

    weight: Annotated[Decimal, Field(gt=0)]
    contents: list[Item] = Field(default_factory=list, alias="inside")
