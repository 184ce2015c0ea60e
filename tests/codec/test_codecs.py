"""Values become JSON that anybody can read, and come back as they were."""

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import reduce
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from penstock.codec.annotations import codec_of
from penstock.codec.form import Misfit
from penstock.codec.values import plain
from tests.codec.shop import (
    Account,
    Address,
    Customer,
    GiftItem,
    Home,
    Item,
    Level,
    Mark,
    Order,
    Page,
    Parcel,
    Sku,
    Speed,
    Spot,
    Tree,
    Zone,
)

DAY = date(2026, 5, 1)
ID = UUID("12345678-1234-5678-1234-567812345678")
ORDER = Order(ID, datetime(2026, 5, 1, 12, tzinfo=UTC), [Item(Sku("a"), Decimal("1.50"))])


@pytest.mark.parametrize(
    ("annotation", "value", "wire"),
    [
        (datetime, datetime(2026, 5, 1, 12, 0, 0, 5, tzinfo=UTC), "2026-05-01T12:00:00.000005+00:00"),
        (datetime, datetime(2026, 5, 1), "2026-05-01T00:00:00"),
        (date, date(2026, 5, 1), "2026-05-01"),
        (time, time(23, 59), "23:59:00"),
        (timedelta, timedelta(minutes=2), 120),
        (timedelta, timedelta(days=-1, microseconds=1), -86399.999999),
        (timedelta, timedelta.min, -86399999913600),
        (Decimal, Decimal("1.10"), "1.10"),
        (UUID, ID, str(ID)),
        (Path, Path("/a/b"), "/a/b"),
        (bytes, b"\x00\xff", "AP8="),
        (bytes | None, b"", ""),
        (Speed, Speed.EXPRESS, "express"),
        (Level, Level.HIGH, 2),
        (Zone, Zone.FAR, "FAR"),
        (Mark, Mark.FRAGILE | Mark.HEAVY, 3),
        (Literal[Speed.SLOW], Speed.SLOW, "slow"),
        (tuple[int, ...], (1, 2), [1, 2]),
        (tuple[int, Decimal], (1, Decimal(2)), [1, "2"]),
        (tuple, (1, "a"), [1, "a"]),
        (set[int], {7}, [7]),
        (frozenset[Decimal], frozenset({Decimal(7)}), ["7"]),
        (AbstractSet[date], frozenset({date(2026, 5, 1)}), ["2026-05-01"]),
        (Sequence[date], [date(2026, 5, 1)], ["2026-05-01"]),
        (Iterable[Decimal], [Decimal(1)], ["1"]),
        (Spot, Spot(Decimal(1), Decimal(2)), ["1", "2"]),
        (dict[str, Decimal], {"a": Decimal(1)}, {"a": "1"}),
        (dict[int, str], {-1: "a", 2: "b"}, {"-1": "a", "2": "b"}),
        (Mapping[UUID, list[Speed]], {ID: [Speed.SLOW]}, {str(ID): ["slow"]}),
        (dict[Level, int], {Level.LOW: 1}, {"1": 1}),
        (Decimal | None, None, None),
        (Decimal | None, Decimal(1), "1"),
        (int | Decimal, Decimal(3), "3"),
        (int | Decimal, 3, 3),
        (str | date, date(2026, 5, 1), "2026-05-01"),
        (str | date, "soon", "soon"),
        (date | datetime, datetime(2026, 5, 1), "2026-05-01T00:00:00"),
        (date | datetime, date(2026, 5, 1), "2026-05-01"),
        (list[Item | Tree], [Tree("a")], [{"name": "a", "children": []}]),
        (Annotated[Decimal, "euros"], Decimal(1), "1"),
        (Item, Item(Sku("a"), Decimal(1)), {"sku": "a", "price": "1", "quantity": 1}),
        (
            Tree,
            Tree("a", (Tree("b", (Tree("c"),)),)),
            {"name": "a", "children": [{"name": "b", "children": [{"name": "c", "children": []}]}]},
        ),
        (Home, {"street": "a", "moved_in": DAY, "floor": 2}, {"street": "a", "moved_in": "2026-05-01", "floor": 2}),
        (Home, {"street": "a", "moved_in": DAY}, {"street": "a", "moved_in": "2026-05-01"}),
        (Page[Home], Page([{"street": "a", "moved_in": DAY}]), None),
        (Page[Decimal], Page([Decimal(1)]), {"rows": ["1"], "following": None}),
        (Page[Page[date]], Page([Page([date(2026, 5, 1)])]), None),
        (
            Customer,
            Customer(name="Ada", born=date(1815, 12, 10), creditLimit=Decimal("7.5")),
            {"name": "Ada", "born": "1815-12-10", "creditLimit": "7.5", "places": []},
        ),
        (Account, Account(name="Ada"), {"name": "Ada", "password": ""}),
        (
            Parcel,
            Parcel(Decimal(2), inside=[Item(Sku("a"), Decimal(1))]),  # type: ignore[call-arg]
            {"weight": "2", "inside": [{"sku": "a", "price": "1", "quantity": 1}]},
        ),
        (
            Order,
            ORDER,
            {
                "id": str(ID),
                "placed": "2026-05-01T12:00:00+00:00",
                "items": [{"sku": "a", "price": "1.50", "quantity": 1}],
                "speed": "slow",
                "window": None,
                "notes": {},
            },
        ),
    ],
    ids=str,
)
def test_a_value_is_plain_json_and_comes_back_as_it_was(annotation: Any, value: Any, wire: Any) -> None:
    codec = codec_of(annotation)
    text = json.dumps(codec.encode(value))
    if wire is not None:
        assert json.loads(text) == wire
    back = codec.decode(json.loads(text))
    assert back == value
    assert type(back) is type(value)
    assert codec.converts


@pytest.mark.parametrize(
    "annotation",
    [
        *(int, str, float, bool, None, Any, object, list, dict, {"a": "note"}, type[int], Callable[[int], str]),
        *(list[int], dict[str, Any], int | None, str | int, list[dict[str, list[float]]], Sequence[str], "quoted"),
        Literal["a", 1],
    ],
    ids=str,
)
def test_what_json_has_itself_passes_through_nothing(annotation: Any) -> None:
    assert not codec_of(annotation).converts


@pytest.mark.parametrize(
    ("annotation", "value", "complaint"),
    [
        (Decimal, 1.5, "a float, where a Decimal is needed"),
        (Decimal | None, "1.5", "a str, where a Decimal is needed"),
        (date, datetime(2026, 5, 1), "a datetime, where a date is needed"),
        (Speed, "slow", "a str, where a Speed is needed"),
        (timedelta, 5, "an int, where a timedelta is needed"),
        (timedelta, timedelta(days=99_999, microseconds=1) * 9_999, "round it"),
        (set[int], [1], "a list, where a set is needed"),
        (set[int], {1, True + 0.5}, r"\[\d\]: a float, where an int is needed"),
        (tuple[int, str], (1,), "1 values, where 2 are needed"),
        (tuple[int, Decimal], (True, Decimal(1)), r"\[0\]: a bool, where an int is needed"),
        (Spot, Spot(Decimal(1), "2"), r"\.y: a str"),  # type: ignore[arg-type]
        (list[Decimal], [Decimal(1), 2], r"\[1\]: an int, where a Decimal is needed"),
        (dict[str, Decimal], {"a b": 1}, r"\['a b'\]: an int"),
        (dict[float, Decimal], {1.5: Decimal(1)}, r"\[1.5\]: a key that is a float, and JSON keys are strings"),
        (dict[int | str, Decimal], {1: Decimal(1), "1": Decimal(2)}, "two of its keys are the same"),
        (int | Decimal, "3", r"a str, where an int \| Decimal is needed"),
        (Path | date, Path("2026-05-01"), "as JSON this PosixPath is the same as a date"),
        (timedelta | float, timedelta(seconds=1), "as JSON this timedelta is the same as a float"),
        (tuple[Literal["a", "b"], Decimal], ("c", Decimal(1)), r"\[0\]: 'c' is no 'a' \| 'b'"),
        (tuple[float, Decimal], (float("nan"), Decimal(1)), r"\[0\]: nan is no float, as JSON has no word for it"),
        (Item, {"sku": "a", "price": "1"}, "a dict, where an Item is needed"),
        (bytes, "AP8=", "a str, where a bytes is needed"),
        (Home, {"street": "a", "moved_in": "2026-05-01"}, r"\.moved_in: a str, where a date is needed"),
        (Home, {"street": "a", "movedin": DAY}, "Home has no field 'movedin'; did you mean moved_in?"),
        (Home, {"street": "a"}, r"\.moved_in: missing"),
        (Order, Order(ID, ORDER.placed, [*ORDER.items, Item(Sku("b"), 2)]), r"\.items\[1\]\.price: an int"),  # type: ignore[arg-type]
        (Item | Tree | None, Item(Sku("a"), 1), r"\.price: an int"),  # type: ignore[arg-type]
        (Customer, {"name": "Ada"}, "a dict, where a Customer is needed"),
        (Account, Account(name="Ada", remark="kind"), r"\.remark: the model writes as JSON what it does not read as"),
        (Customer, Customer.model_construct(name="Ada"), r"\.born: Field required"),
        (
            Customer,
            Customer.model_construct(name="Ada", born="soon", places=[Address.model_construct(street="a", number="b")]),
            r"\.born: .*date.* \(and 1 more\)",
        ),
    ],
    ids=str,
)
def test_a_value_that_is_not_what_its_annotation_says_is_refused(annotation: Any, value: Any, complaint: str) -> None:
    with pytest.raises(Misfit) as raised:
        codec_of(annotation).encode(value)
    assert_says(raised.value, complaint)


@pytest.mark.parametrize(
    ("annotation", "wire", "complaint"),
    [
        (Decimal, "a lot", "'a lot' is no Decimal"),
        (Decimal, True, "a bool, where a Decimal is needed"),
        (datetime, "2026-05-01", "'2026-05-01' is no datetime"),
        (date, "2026-13-01", "'2026-13-01' is no date"),
        (UUID, "x" * 1000, r"^: 'x+\.\.\.x+' is no UUID$"),
        (Speed, "expres", "'expres' is no Speed; did you mean 'express'?"),
        (Level, 7, "7 is no Level; known are 1, 2"),
        (timedelta, 1e300, "is no timedelta"),
        (timedelta, "1", "a str, where a timedelta is needed"),
        (set[Any], [[]], "unhashable"),
        (tuple[int, ...], 3, "an int, where a tuple is needed"),
        (dict[int, str], {"a": "b"}, r"\['a'\]: a str, where an int is needed"),
        (Item, {"sku": "a", "pirce": "1"}, "Item has no field 'pirce'; did you mean price?"),
        (Item, {"sku": "a"}, r"\.price: missing"),
        (Item, {"sku": "a", "price": "1", "quantity": 0}, r"refuses it \(ValueError: an item is bought at least once"),
        (Item, [], "a list, where an Item is needed"),
        (bytes, "no base64", "'no base64' is no bytes"),
        (Home, [], "a list, where a Home is needed"),
        (Home, {"street": "a", "moved_in": "x"}, r"\.moved_in: 'x' is no date"),
        (Parcel, {"weight": 0}, r"\.weight: Input should be greater than 0"),
        (Order, {"items": [{"sku": "a", "price": "x"}]}, r"\.items\[0\]\.price: 'x' is no Decimal"),
        (Customer, {"name": "Ada", "born": "1815-12-10", "places": [{"street": "a"}]}, r"\.places\[0\]\.number: Field"),
    ],
    ids=str,
)
def test_json_that_is_not_what_the_annotation_says_is_refused(annotation: Any, wire: Any, complaint: str) -> None:
    with pytest.raises(Misfit) as raised:
        codec_of(annotation).decode(wire)
    assert_says(raised.value, complaint)


def test_a_text_that_would_come_back_as_a_date_is_refused() -> None:
    with pytest.raises(Misfit, match="as JSON this str is the same as a date, which would come out of it"):
        codec_of(str | date).encode("2026-05-01")


def test_a_subclass_that_would_come_back_as_its_base_is_refused() -> None:
    with pytest.raises(Misfit, match="a GiftItem, where an Item is needed"):
        codec_of(Item).encode(GiftItem(Sku("a"), Decimal(1)))


def test_a_secret_that_a_model_hides_is_refused_and_not_told() -> None:
    with pytest.raises(
        Misfit, match="writes as JSON what it does not read as the same value, as of a secret"
    ) as raised:
        codec_of(Account).encode(Account(name="Ada", password=SecretStr("hunter2")))
    assert raised.value.path == ".password"
    assert "hunter2" not in str(raised.value)


def assert_says(misfit: Misfit, complaint: str) -> None:
    said = f"{misfit.path}: {misfit.problem}"
    assert re.search(complaint, said) or complaint in said, said


@pytest.mark.parametrize(
    ("annotation", "wire", "value"),
    [
        (Decimal, 1.1, Decimal("1.1")),
        (Decimal, 7, Decimal(7)),
        (datetime, "2026-05-01T12:00:00Z", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        (Item, {"sku": "a", "price": 2}, Item(Sku("a"), Decimal(2))),
        (timedelta, 0.5, timedelta(milliseconds=500)),
    ],
    ids=str,
)
def test_what_other_producers_write_is_read_as_well(annotation: Any, wire: Any, value: Any) -> None:
    assert codec_of(annotation).decode(wire) == value


scalars = {
    datetime: st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7))])),
    date: st.dates(),
    time: st.times(),
    timedelta: st.timedeltas(timedelta(days=-40_000), timedelta(days=40_000)),
    Decimal: st.decimals(allow_nan=False),
    UUID: st.uuids(),
    PurePosixPath: st.text("abc/.", min_size=1).map(PurePosixPath),
    Speed: st.sampled_from(Speed),
}


@pytest.mark.parametrize("kind", scalars, ids=lambda kind: kind.__name__)
@settings(deadline=None)
@given(data=st.data())
def test_every_value_of_a_type_comes_back_equal(kind: Any, data: st.DataObject) -> None:
    values = data.draw(st.lists(scalars[kind], max_size=3))
    codec = codec_of(list[kind])
    assert codec.decode(json.loads(json.dumps(codec.encode(values)))) == values


@settings(deadline=None)
@given(value=st.one_of(*scalars.values(), st.none(), st.integers(), st.text()))
def test_what_a_union_accepts_comes_back_equal(value: Any) -> None:
    codec = codec_of(reduce(operator.or_, [str, *scalars, int], None))
    try:
        text = json.dumps(codec.encode(value))
    except Misfit:
        return  # It would have come back as another.
    back = codec.decode(json.loads(text))
    assert back == (PurePosixPath(value) if isinstance(back, PurePosixPath) else value)


def test_values_without_annotations_are_written_as_their_classes_say() -> None:
    value = {"order": ORDER, "days": (date(2026, 5, 1),), "path": Path("/a"), "ids": {ID}, "number": 1, "left": [None]}
    assert plain(value) == {
        "order": codec_of(Order).encode(ORDER),
        "days": ["2026-05-01"],
        "path": "/a",
        "ids": [str(ID)],
        "number": 1,
        "left": [None],
    }
    strange = object()
    assert plain(strange) is strange
