"""How many jobs a child claims at once: as many as take about as long as a person does not notice."""

from __future__ import annotations

CLAIM_SECONDS = 0.05
"""What a claim should take to run."""
SLOW_SECONDS = 0.25
"""A task that has been taking longer keeps nothing waiting behind it."""
MEASURE_SECONDS = 0.005
"""What is counted in less says little."""
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

    @property
    def is_short(self) -> bool:
        """Whether jobs have been taking less than a claim should."""
        return self._recent < CLAIM_SECONDS

    def count(self) -> int:
        """How many to claim now."""
        wanted = int(CLAIM_SECONDS / max(self._recent, 1e-6))
        return max(1, min(wanted, self._last * GROWTH, self._most))

    def claimed(self, count: int) -> None:
        """Takes in how many came."""
        self._last = max(count, 1)


class Flow:
    """Judges by how many jobs end where many run at once. Times are monotonic."""

    def __init__(self, most: int) -> None:
        """Args:
        most: jobs that may ever wait.
        """
        self._most = most
        self._ahead = 0
        self._ended, self._at = 0, 0.0
        """At the last measurement; the next two at the last look whether those that wait are stuck."""
        self._then, self._since = 0, 0.0

    def measure(self, ended: int, now: float) -> None:
        """Takes in how many have ever ended, before each claim."""
        if (passed := now - self._at) >= MEASURE_SECONDS:
            self._ahead = min(int((ended - self._ended) / passed * CLAIM_SECONDS), self._most)
            self._ended, self._at = ended, now

    def forget(self, ended: int, now: float) -> None:
        """Has none wait until others have ended."""
        self._ahead, self._ended, self._at = 0, ended, now

    def ahead(self, pace: Pace) -> int:
        """How many may wait for a place: as many as end in the time of a claim, unless they take that long each."""
        return self._ahead if pace.is_short else 0

    def is_stuck(self, ended: int, waiting: int, now: float) -> bool:
        """Whether those that wait would do so for longer than a job that keeps nothing waiting behind it takes.

        Then none wait until others have ended.
        """
        passed = now - self._since
        if waiting and passed < SLOW_SECONDS:
            return False
        is_stuck = waiting > (ended - self._then) * SLOW_SECONDS / max(passed, 1e-6)
        self._then, self._since = ended, now
        if is_stuck:
            self.forget(ended, now)
        return is_stuck
