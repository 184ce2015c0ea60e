"""Arguments with types of Python's: checked and written when a job is submitted, by whichever way."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis

from penstock import enqueue_many
from penstock.app import PenstockApp
from penstock.errors import ArgumentError, DeclarationError
from penstock.scheduler import Every, schedule
from tests.codec import shop
from tests.codec.shop import Item, Order, Sku, Speed
from tests.live import ROOT

ID = UUID("12345678-1234-5678-1234-567812345678")
WRITTEN = {
    "id": str(ID),
    "placed": "2026-05-01T12:00:00+00:00",
    "items": [{"sku": "a", "price": "1.50", "quantity": 2}],
    "speed": "slow",
    "window": ["08:00:00", "12:00:00"],
    "notes": {"2026-05-02": "ring"},
}


def order(**changes: Any) -> Order:
    items = [Item(Sku("a"), Decimal("1.50"), 2)]
    usual: dict[str, Any] = {"window": (time(8), time(12)), "notes": {date(2026, 5, 2): "ring"}, "items": items}
    return Order(ID, datetime(2026, 5, 1, 12, tzinfo=UTC), **usual | changes)


def bodies(broker: redis.Redis) -> list[Any]:
    """Arguments of the waiting messages, first come first."""
    raws: Any = broker.lrange("default", 0, -1)
    return [json.loads(json.loads(raw)["body"])[:2] for raw in reversed(raws)]


def test_they_travel_as_plain_json_that_names_no_type(app: PenstockApp, broker: redis.Redis) -> None:
    shop.ship.enqueue(order(), Path("/door"), speed=Speed.EXPRESS, within=timedelta(hours=1))
    assert bodies(broker) == [[[WRITTEN, "/door"], {"speed": "express", "within": 3600}]]


def test_a_field_that_is_not_what_it_should_be_is_named_and_nothing_is_sent(
    app: PenstockApp, broker: redis.Redis
) -> None:
    wrong = order(items=[Item(Sku("a"), Decimal(1)), Item(Sku("b"), Decimal(2)), Item(Sku("c"), 3)])  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"^tests\.codec\.shop\.ship: order\.items\[2\]\.price: an int, where a D"):
        shop.ship.enqueue(wrong, Path("/door"))
    with pytest.raises(ArgumentError, match=r"ship: to: a str, where a Path is needed"):
        shop.ship.options(priority=1).enqueue(order(), "/door")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"call 2: tests\.codec\.shop\.double: amount: an int"):
        enqueue_many([shop.double.bind(Decimal(1)), shop.double.bind(2)])  # type: ignore[arg-type]
    assert broker.llen("default") == 0


def test_many_calls_and_other_parameters_are_written_as_well(app: PenstockApp, broker: redis.Redis) -> None:
    enqueue_many([shop.double.bind(Decimal("0.1")), shop.collect.bind(date(2026, 5, 1), a=Decimal(1), b=Decimal(2))])
    assert bodies(broker) == [[["0.1"], {}], [["2026-05-01"], {"a": "1", "b": "2"}]]
    with pytest.raises(ArgumentError, match=r"collect: days\[1\]: a str"):
        shop.collect.enqueue(date(2026, 5, 1), "2026-05-02")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"collect: b: an int"):
        shop.collect.enqueue(b=2)  # type: ignore[arg-type]


def test_what_contains_itself_is_refused(app: PenstockApp) -> None:
    rows: list[Any] = []
    rows.append(rows)
    with pytest.raises(ArgumentError, match=r"sum_of: amounts\[0\]: a list, where a Decimal"):
        shop.sum_of.enqueue(rows)
    tree = shop.Tree("a")
    object.__setattr__(tree, "children", (tree,))
    with pytest.raises(ArgumentError, match=r"count: tree contains itself, or is nested too deeply"):
        shop.count.enqueue(tree)


def test_an_annotation_that_only_type_checkers_know_says_so(app: PenstockApp, broker: redis.Redis) -> None:
    shop.of_a_stranger.enqueue({"plain": 1}, 2)
    assert bodies(broker) == [[[{"plain": 1}, 2], {}]]
    with pytest.raises(ArgumentError, match=r"stranger: its annotation 'Fraction' has no meaning at run time; import"):
        shop.of_a_stranger.enqueue(object(), 2)  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match=r"Estranged: .*Fraction.*import it for real"):
        shop.of_an_estranged.enqueue(shop.Estranged(1))  # type: ignore[arg-type]


def test_celerys_own_calls_write_the_same(app: PenstockApp, broker: redis.Redis) -> None:
    twin = app.tasks[shop.ship.name]
    twin.delay(order(), Path("/door"), within=timedelta(hours=1))
    twin.apply_async((WRITTEN, "/door"), {"within": 3600})  # As Celery sends it again.
    shop.ship.s(order(), Path("/door"), within=timedelta(hours=1)).apply_async()
    shop.ship.si(order(), Path("/door"), within=timedelta(hours=1)).apply_async()
    assert bodies(broker) == [[[WRITTEN, "/door"], {"within": 3600}]] * 4
    with pytest.raises(ArgumentError, match=r"ship: order\.items\[0\]\.price: 'x' is no Decimal"):
        twin.delay({**WRITTEN, "items": [{"sku": "a", "price": "x"}]}, "/door")
    with pytest.raises(ArgumentError, match=r"ship: order\.items\[0\]\.price: an int"):
        twin.delay(order(items=[Item(Sku("a"), 1)]), "/door")  # type: ignore[arg-type]


def test_celerys_apply_runs_the_body_with_what_a_worker_would_give_it(app: PenstockApp) -> None:
    assert app.tasks[shop.double.name].apply((Decimal("0.1"),)).get() == "0.2"
    assert app.tasks[shop.double.name].apply(("0.1",)).get() == "0.2"


def test_a_schedule_keeps_them_as_json_and_may_have_the_time_in_their_place() -> None:
    made = schedule("typed", shop.ship.bind(order(), Path("/door")), Every(60))
    assert (made.args, made.kwargs) == ((WRITTEN, "/door"), {})
    schedule("templated", shop.tomorrow.bind("{fire_time:%Y-%m-%d}"), Every(60))  # type: ignore[arg-type]


def test_a_schedule_whose_arguments_cannot_be_read_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"schedule 'wrong': .*tomorrow: day: '.*' is no date"):
        schedule("wrong", shop.tomorrow.bind("{fire_time:%H}"), Every(60))  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match=r"schedule 'wrong': .*ship: argument 1\.items\[0\]\.price: an int"):
        schedule("wrong", shop.ship.bind(order(items=[Item(Sku("a"), 1)]), Path("/")), Every(60))  # type: ignore[arg-type]


@pytest.mark.parametrize("declared", [shop.untyped, shop.plain], ids=lambda declared: declared.name)
def test_a_task_whose_values_are_json_by_themselves_has_no_conversion(declared: Any) -> None:
    assert declared.conversion is None


def test_pydantic_is_loaded_by_nobody_who_has_no_model() -> None:
    code = """
import sys
from decimal import Decimal
from penstock import task
@task()
def double(amount: Decimal) -> Decimal: return amount
assert double.conversion.encode((Decimal(1),), {}) == (("1",), {})
print([name for name in ("pydantic", "msgspec", "celery", "sqlalchemy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
