"""How many jobs a child claims at once: as many as take about as long as a person does not notice."""

from __future__ import annotations

CLAIM_SECONDS = 0.05
"""What a claim should take to run."""
SLOW_SECONDS = 0.25
"""A task that has been taking longer keeps nothing waiting behind it."""
WEIGHT = 0.2
GROWTH = 2
"""A claim is at most so many times as large as the last one: little is known of what comes."""


class Pace:
    """Judges by what tasks have been taking here."""

    def __init__(self, most: int) -> None:
        """Args:
        most: jobs of the largest claim.
        """
        self._most = most
        self._last = 1
        self._recent = CLAIM_SECONDS
        self._of_task: dict[str, float] = {}

    def note(self, task: str, seconds: float) -> None:
        """Takes in how long a job of the task took."""
        known = self._of_task.get(task)
        self._of_task[task] = seconds if known is None else known + WEIGHT * (seconds - known)
        # Slow ones count at once, quick ones little by little: a wrong guess makes others wait behind a slow job.
        self._recent = seconds if seconds > self._recent else self._recent + WEIGHT * (seconds - self._recent)

    def is_slow(self, task: str) -> bool:
        """Whether nothing should wait behind a job of this task."""
        return self._of_task.get(task, 0.0) > SLOW_SECONDS

    def count(self) -> int:
        """How many to claim now."""
        wanted = int(CLAIM_SECONDS / max(self._recent, 1e-6))
        return max(1, min(wanted, self._last * GROWTH, self._most))

    def claimed(self, count: int) -> None:
        """Takes in how many came."""
        self._last = max(count, 1)
