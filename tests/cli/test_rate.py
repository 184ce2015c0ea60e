"""How a speed limit is written."""

import click
import pytest

from penstock.cli.rate import Rate


@pytest.mark.parametrize(("text", "a_second"), [("50/s", 50), ("50", 50), ("30/m", 0.5), ("3600/h", 1), ("0.5/s", 0.5)])
def test_a_rate_is_so_many_in_a_time(text: str, a_second: float) -> None:
    assert Rate().convert(text, None, None) == a_second


@pytest.mark.parametrize("text", ["fast", "0/s", "-1/s", "5/d", ""])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="write 50/s"):
        Rate().convert(text, None, None)
