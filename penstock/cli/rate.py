"""A speed limit on the command line."""

from __future__ import annotations

from typing import Any

import click

from penstock.operations.failures.pace import BadRate, rate_of


class Rate(click.ParamType[float]):
    """So many a second, written 50/s, 50, 10/m or 100/h."""

    name = "N/s"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Per second."""
        try:
            return rate_of(str(value))
        except BadRate as error:
            self.fail(str(error), param, ctx)
