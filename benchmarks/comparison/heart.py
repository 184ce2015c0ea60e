"""The last line of a quick run: jobs a second of each system at the heart of the comparison, as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks.comparison.catalogue import HEART
from benchmarks.comparison.outcome import Outcome
from benchmarks.conditions import BenchmarkError


def last_line(outcomes: Sequence[Outcome]) -> str:
    """Raises BenchmarkError when one of them has no figure."""
    rates = {outcome.name: outcome.median("run") for outcome in outcomes}
    if missing := [name for name in HEART if not rates.get(name)]:
        raise BenchmarkError(f"there is no figure of {', '.join(missing)}")
    return json.dumps({name: round(rates[name] or 0, 1) for name in HEART})
