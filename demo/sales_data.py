"""A sales database that looks like one: growth, seasons, weekends, regions that differ. The same for the same seed."""

from __future__ import annotations

import itertools
import math
import random
import sqlite3
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

#: Share of all orders, and the growth of that share over a year.
REGIONS = {
    "North": (0.24, 0.05),
    "South": (0.19, 0.18),
    "East": (0.15, -0.12),
    "West": (0.27, 0.02),
    "Overseas": (0.15, 0.45),
}
#: Price in cents, share of all orders, and the month in which it sells best.
PRODUCTS = {
    "Espresso beans 1 kg": (2190, 0.27, 12),
    "Filter coffee 500 g": (990, 0.24, 1),
    "Cold brew kit": (3450, 0.08, 7),
    "Gooseneck kettle": (6900, 0.09, 11),
    "Hand grinder": (8900, 0.08, 12),
    "Paper filters": (390, 0.16, 3),
    "Iced tea": (640, 0.05, 7),
    "Gift card": (2500, 0.03, 12),
}
#: Monday to Sunday.
WEEKDAYS = (0.95, 0.92, 0.97, 1.02, 1.25, 1.3, 0.8)
QUANTITIES, QUANTITY_SHARES = (1, 2, 3, 4, 6, 10), (58, 22, 9, 6, 3, 2)
LAST_DAY = date(2026, 6, 30)
DAYS = 365
TABLE = """
CREATE TABLE sales (
    id INTEGER PRIMARY KEY,
    day TEXT NOT NULL,
    region TEXT NOT NULL,
    product TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    amount_cents INTEGER NOT NULL
)
"""
Sale = tuple[int, str, str, str, int, int]


def make_sales_database(path: Path, rows: int = 100_000, seed: int = 7, last_day: date = LAST_DAY) -> None:
    """Writes a SQLite database with the table ``sales`` at ``path``, in place of what was there.

    Args:
        rows: how many sales, over the year that ends with ``last_day``.
        seed: another one gives other sales.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    connection = sqlite3.connect(draft, isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(TABLE)
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO sales VALUES (?, ?, ?, ?, ?, ?)", _sales(rows, random.Random(seed), last_day))  # noqa: S311
    connection.execute("CREATE INDEX sales_by_region_and_day ON sales (region, day)")
    connection.execute("COMMIT")
    connection.close()
    draft.replace(path)


def _sales(rows: int, chance: random.Random, last_day: date) -> Iterator[Sale]:
    days = [last_day - timedelta(days=DAYS - 1 - number) for number in range(DAYS)]
    orders = sorted(chance.choices(range(DAYS), [_demand(day, number) for number, day in enumerate(days)], k=rows))
    regions, products = list(REGIONS), list(PRODUCTS)
    number = 0
    for at, group in itertools.groupby(orders):
        count = sum(1 for _ in group)
        day = days[at]
        sold = zip(
            chance.choices(regions, [share * (1 + growth * at / DAYS) for share, growth in REGIONS.values()], k=count),
            chance.choices(products, [_share(name, day) for name in products], k=count),
            chance.choices(QUANTITIES, QUANTITY_SHARES, k=count),
            strict=True,
        )
        for region, product, quantity in sold:
            number += 1
            amount = round(PRODUCTS[product][0] * quantity * chance.choice((1, 1, 1, 1, 0.9, 0.8)))
            yield number, day.isoformat(), region, product, quantity, amount


def _demand(day: date, number: int) -> float:
    """More at the end of the week, before Christmas, and year on year."""
    weeks_to_christmas = (date(day.year, 12, 24) - day).days / 7
    christmas = 1.1 * math.exp(-((weeks_to_christmas - 1.5) ** 2) / 4) if weeks_to_christmas > -0.5 else 0
    return WEEKDAYS[day.weekday()] * (1 + 0.2 * number / DAYS) * (1 + christmas)


def _share(product: str, day: date) -> float:
    _price, share, best = PRODUCTS[product]
    months_away = day.month + day.day / 31 - best
    return share * (1 + 0.6 * math.cos(months_away / 12 * 2 * math.pi))
