"""How values look on a page."""

from __future__ import annotations

import pytest

from penstock.flower.show import MISSING, Show
from penstock.redaction import WORDS, Redaction

SHOW = Show("Europe/Berlin", Redaction(WORDS))


def test_a_long_id_that_somebody_has_chosen_is_cut_and_a_uuid_is_short() -> None:
    assert SHOW.id("order-" + "7" * 60) == "order-" + "7" * 33 + "…"
    assert SHOW.id("0cbf5ff2-8a43-4d0c-9b3e-3f7c2f6c2a11") == "0cbf5ff2"
    assert SHOW.id("<order-7>") == "&lt;order-7&gt;"


def test_a_state_of_two_words_has_one_class_of_its_own() -> None:
    assert SHOW.state("handing over") == '<span class="state state-handing-over">handing over</span>'


def test_commands_stand_between_backticks_and_all_else_is_text() -> None:
    assert SHOW.words("run `a < b` & wait") == "run <code>a &lt; b</code> &amp; wait"


@pytest.mark.parametrize(("per_second", "shown"), [(None, MISSING), (0.0, "0/s"), (2.5, "2.5/s"), (0.05, "3/min")])
def test_a_rate_is_told_by_the_second_or_by_the_minute(per_second: float | None, shown: str) -> None:
    assert SHOW.rate(per_second) == shown
