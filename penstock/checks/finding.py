"""One thing that was checked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What was found, in a sentence that names the remedy when there is something to mend.

    Attributes:
        name: one word.
        passed: False when nothing may start.
        warning: it passed, and somebody should look at it nevertheless.
    """

    name: str
    passed: bool
    text: str
    warning: bool = False
