"""What a run has found, and the pages of `docs/` that it writes: each one whole, if all of its parts were measured.

A page never mixes runs, and one of them can be measured anew without the others.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import chart
from benchmarks.comparison import page as comparison
from benchmarks.comparison import sleeps
from benchmarks.comparison.outcome import Outcome
from benchmarks.comparison.targets import Verdict, verdicts
from benchmarks.report import Figure, as_data, as_markdown
from benchmarks.scale import page as scale

COMPARISON, SLEEPS, SCALE = "comparison", "sleeps", "scale"


@dataclass
class Found:
    """What a run has found so far.

    Attributes:
        where: it ran.
        floor: calls a second of Redis alone.
        ran: what the processes turned out to be made of, by side.
    """

    where: dict[str, str]
    figures: list[Figure] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    sleeps: list[Outcome] = field(default_factory=list)
    floor: dict[str, float] = field(default_factory=dict)
    scale: scale.Scale | None = None
    ran: dict[str, dict[str, str]] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """Everything, for machines."""
        return {
            **as_data(self.figures, self.ran, self.where),
            **self._comparison_as_data(),
            "scale": self.scale.as_data() if self.scale else None,
        }

    @property
    def holds(self) -> bool:
        """Whether every target holds."""
        return all(figure.holds for figure in self.figures) and all(found.holds for found in self.verdicts)

    @property
    def verdicts(self) -> list[Verdict]:
        """Of what all systems are measured by."""
        return [*verdicts(self.outcomes), *sleeps.verdicts(self.sleeps)]

    def write(self, folder: Path, measured: Collection[str], figures: Collection[str]) -> list[str]:
        """Writes those pages whose parts are all measured, with their pictures and raw data.

        Args:
            folder: the docs.
            measured: names of the parts of this run.
            figures: all that belong on the page of figures.

        Returns:
            Names of the files.
        """
        files: dict[str, str] = {}
        if {COMPARISON, SLEEPS} <= {*measured}:
            files |= {
                "comparison.md": "\n".join(self._comparison_page()) + "\n",
                "comparison.json": _json({"machine": self.where, **self._comparison_as_data()}),
                "pictures/comparison.svg": comparison.picture(self.outcomes),
            }
        if {*figures} <= {*measured}:
            files |= {
                "benchmarks.md": as_markdown(self.figures, self.ran, self.where),
                "benchmarks.json": _json(as_data(self.figures, self.ran, self.where)),
                "pictures/benchmarks.svg": chart.draw(self.figures),
            }
        if self.scale is not None:
            files["scale.md"] = scale.as_markdown(self.scale, self.where)
        for name, text in files.items():
            (folder / name).write_text(text)
        return list(files)

    def _comparison_as_data(self) -> dict[str, Any]:
        return {
            "redis-benchmark": self.floor,
            "comparison": [outcome.as_data() for outcome in self.outcomes],
            "sleeps": [outcome.as_data() for outcome in self.sleeps],
            "targets": [vars(verdict) for verdict in self.verdicts],
        }

    def _comparison_page(self) -> Iterator[str]:
        yield from comparison.as_markdown(self.outcomes, self.floor, self.where)
        yield ""
        yield from sleeps.as_markdown(self.sleeps)


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"
