"""A speed limit on the command line."""

import click
import pytest

from penstock.cli.rate import Rate


def test_a_rate_is_so_many_a_second() -> None:
    assert Rate().convert("30/m", None, None) == 0.5


def test_what_is_no_rate_is_a_wrong_usage() -> None:
    with pytest.raises(click.UsageError, match="write 50/s"):
        Rate().convert("fast", None, None)
