"""How a speed limit is written."""

from __future__ import annotations

import re
from typing import Any

import click

SECONDS = {"s": 1, "m": 60, "h": 3600}


class Rate(click.ParamType[float]):
    """So many a second, written 50/s, 50, 10/m or 100/h."""

    name = "N/s"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Per second."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/([smh]))?", str(value).strip())
        if not found or float(found[1]) <= 0:
            self.fail(f"{value!r} is no speed; write 50/s, 10/m or 100/h", param, ctx)
        return float(found[1]) / SECONDS[found[2] or "s"]
