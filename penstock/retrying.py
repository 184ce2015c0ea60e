"""When a job starts again: what its task's Retry says of an error, and what its body says of itself. No Celery here."""

from __future__ import annotations

import inspect
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from penstock.errors import DeclarationError
from penstock.message import RETRIES_BY_RULE, SNOOZES
from penstock.option_names import names_options
from penstock.retry_after import asked_pause
from penstock.seconds import MOST_SECONDS, are_seconds, is_number

logger = logging.getLogger(__name__)
Growth = Literal["exponential", "linear", "constant"]
Backoff = Growth | Callable[[int, Exception], float]
GROWTHS = ("exponential", "linear", "constant")
ANY: tuple[type[Exception], ...] = (Exception,)


class Decision(Exception):
    """What a body says of its own job, by raising it at any depth. No Retry repeats it."""


class Snooze(Decision):
    """Not yet: the job waits until then, and starts again. That costs no attempt.

    Args:
        until: seconds from now, a timedelta, or a time with a zone.

    Raises:
        ValueError: it is none of these.
    """

    def __init__(self, until: float | timedelta | datetime) -> None:
        super().__init__(until)
        self.due = _due(until)
        """When the job starts again, UTC."""


class Discard(Decision):
    """Nothing more can be done: the job fails at once, with the reason ``discarded``.

    Args:
        reason: why, for people; kept as the error's message.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class Cancel(Decision):
    """Nobody needs it any more: the job ends as cancelled, which is no failure.

    Args:
        reason: why, for people; kept as the error's message.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


def _due(until: Any) -> datetime:
    now = datetime.now(UTC)
    if isinstance(until, datetime) and until.tzinfo is not None:
        return max(until.astimezone(UTC), now)
    try:
        pause = timedelta(seconds=until) if is_number(until) else until
        if isinstance(pause, timedelta) and pause >= timedelta(0):
            return now + pause
    except OverflowError:
        pass
    raise ValueError(f"Snooze({until!r}): seconds, a timedelta, or a datetime with a time zone; not before now")


def decision_in(error: BaseException) -> Decision | None:
    """What an exception decides. Task groups raise groups: what is in there counts, if there is nothing else."""
    if isinstance(error, Decision):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    found = [decision_in(each) for each in error.exceptions]
    return found[0] if all(found) else None


class Again(NamedTuple):
    """Another attempt."""

    pause: float
    """Seconds before it."""
    headers: dict[str, Any]
    """What its message says of the attempts before, beyond their number."""


@dataclass(frozen=True, slots=True)
class Tries:
    """What a job has behind it, as its message says, which anyone may have written."""

    attempt: int
    """Which one this is, from 1; a start after a snooze is none."""
    snoozes: int = 0
    by_rule: Mapping[str, int] = field(default_factory=dict)
    """How many of the attempts before have ended by an error of which rule; of Retry's own there is no word."""

    @classmethod
    def of(cls, retries: int, header: Callable[[str], Any]) -> Tries:
        """Read from a message; what cannot be true counts as absent.

        Args:
            retries: how often the job has been sent again.
            header: the value of a header, or None.
        """
        told = header(SNOOZES)
        snoozes = told if type(told) is int and 0 <= told <= retries else 0
        attempt = retries - snoozes + 1
        counts = header(RETRIES_BY_RULE)
        return cls(attempt, snoozes, counts if _are_counts(counts, attempt - 1) else {})

    def of_rule(self, rule: str | None) -> int:
        """Which attempt this is that ends by an error of a rule, from 1; None: of Retry's own."""
        return self.attempt - sum(self.by_rule.values()) if rule is None else self.by_rule.get(rule, 0) + 1


def _are_counts(told: Any, most: int) -> bool:
    if not isinstance(told, dict) or not all(type(count) is int and count > 0 for count in told.values()):
        return False
    return sum(told.values()) <= most


@names_options
@dataclass(frozen=True, kw_only=True)
class Retry:
    """When and how often a failed attempt is repeated.

    Args:
        attempts: starts in all, the first included.
        backoff: how the pause grows from attempt to attempt: exponential (doubles), linear, constant; or a function of
            the number of the attempt, from 1, and its error, that returns seconds.
        base: seconds before the second attempt.
        cap: seconds that no pause exceeds.
        jitter: draw each pause from its upper half, so that jobs that failed together do not return together. What a
            function of yours returns is taken as it is.
        on: exceptions that are worth another attempt; every other one fails the job at once.
        never: exceptions that are not, though ``on`` has a class that they derive from.
        rules: for some exceptions a Retry of their own, which counts its own attempts. It says attempts, backoff,
            base, cap and jitter; of several classes the one nearest to the error's own is meant, here and in ``on``
            and ``never``.
        deadline: seconds after which no further attempt starts, from when the job was first due: submitted, or later by
            its ``delay`` or ``at``. The job then fails with its last error and the reason ``deadline``.

    An exception that asks for a pause itself gets it, up to ``cap``: by an attribute ``retry_after`` (seconds, a
    timedelta, or a datetime with a zone), or by a header ``Retry-After`` of the HTTP response that it carries.
    """

    attempts: int = 3
    backoff: Backoff = "exponential"
    base: float = 1.0
    cap: float = 600.0
    jitter: bool = True
    on: tuple[type[Exception], ...] = ANY
    never: tuple[type[Exception], ...] = ()
    rules: Mapping[type[Exception], Retry] = field(default_factory=dict, hash=False)
    deadline: float | None = None

    def __post_init__(self) -> None:
        if problem := next(_problems(self), None):
            raise DeclarationError(problem)

    def again(self, error: Exception, tries: Tries, task: str) -> Again | None:
        """The next attempt after one that has ended with ``error``; None: there is none.

        Args:
            task: its name, for the log.
        """
        found = self._rule_for(error)
        if found is None:
            return None
        name, rule = found
        number = tries.of_rule(name)
        if number >= rule.attempts:
            return None
        headers = {} if name is None else {RETRIES_BY_RULE: {**tries.by_rule, name: number}}
        return Again(rule.pause(number, error, task), headers)

    def _rule_for(self, error: Exception) -> tuple[str | None, Retry] | None:
        """The Retry that an error comes under, with the name by which its attempts are counted."""
        for kind in type(error).__mro__:
            if kind in self.never:
                return None
            if kind in self.rules:
                return _name(kind), self.rules[kind]
            if kind in self.on:
                return None, self
        return None

    def pause(self, attempt: int, error: Exception, task: str = "") -> float:
        """Seconds to wait after attempt number ``attempt`` (from 1) ended with ``error``.

        Args:
            task: its name, for the log.
        """
        asked = asked_pause(error)
        if asked is None and not isinstance(self.backoff, str):
            asked = _returned(self.backoff, attempt, error, task)
        if asked is not None:
            return min(asked, self.cap)
        growth = {"linear": float(attempt), "constant": 1.0}.get(str(self.backoff), 2.0 ** min(attempt - 1, 62))
        pause = min(self.base * growth, self.cap)
        return pause * random.uniform(0.5, 1.0) if self.jitter else pause  # noqa: S311  spreads load, hides nothing

    def is_too_late(self, first_due: datetime, pause: float) -> bool:
        """Whether an attempt after ``pause`` seconds would start after the deadline of a job that was due then."""
        if self.deadline is None:
            return False
        return (datetime.now(UTC) - first_due).total_seconds() + pause > self.deadline


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _returned(backoff: Callable[[int, Exception], float], attempt: int, error: Exception, task: str) -> float | None:
    """What an application's function says; None when that is no pause. A mistake in it must not cost the job."""
    try:
        seconds = backoff(attempt, error)
        if is_number(seconds) and seconds >= 0:
            return float(seconds)
        logger.warning("backoff of %s returned %r; the pause is exponential instead", task, seconds)
    except Exception:
        logger.warning("backoff of %s raised; the pause is exponential instead", task, exc_info=True)
    return None


def _problems(given: Any) -> Iterator[str]:
    if not (isinstance(given.attempts, int) and is_number(given.attempts) and given.attempts >= 1):
        yield f"Retry(attempts={given.attempts}): at least 1, the first start included"
    if problem := _problem_of_backoff(given.backoff):
        yield f"Retry(backoff={given.backoff!r}): {problem}"
    if not (are_seconds(given.base) and are_seconds(given.cap) and 0 < given.base <= given.cap):
        yield f"Retry(base={given.base}, cap={given.cap}): seconds with 0 < base <= cap <= {MOST_SECONDS:,}"
    if not isinstance(given.jitter, bool):
        yield f"Retry(jitter={given.jitter!r}): True or False"
    if given.deadline is not None and not (are_seconds(given.deadline) and given.deadline > 0):
        yield f"Retry(deadline={given.deadline!r}): seconds, more than 0 and at most {MOST_SECONDS:,}"
    yield from _problems_of_classes(given)


def _problem_of_backoff(backoff: Any) -> str | None:
    if backoff in GROWTHS:
        return None
    if not callable(backoff) or inspect.iscoroutinefunction(backoff):
        return "exponential, linear or constant, or a function (attempt, error) -> seconds"
    try:
        inspect.signature(backoff).bind(1, Exception())
    except TypeError as error:
        return f"it is called with the number of the attempt and its error ({error})"
    except ValueError:
        pass  # Written in C, and says nothing of its parameters.
    return None


def _problems_of_classes(given: Any) -> Iterator[str]:
    for name in ("on", "never"):
        kinds = getattr(given, name)
        if not (isinstance(kinds, tuple) and all(map(_is_exception, kinds))):
            yield f"Retry({name}={kinds!r}): a tuple of exception classes, e.g. (ConnectionError,)"
            return
    rules = given.rules
    if not (isinstance(rules, Mapping) and all(map(_is_exception, rules)) and all(map(_is_rule, rules.values()))):
        yield (
            f"Retry(rules={rules!r}): a Retry for each exception class, e.g. {{RateLimited: Retry(attempts=20)}}, "
            "that says attempts, backoff, base, cap and jitter only"
        )
        return
    if not given.on and not rules:
        yield "Retry(on=()): give on or rules an exception class, or leave the Retry out"
    places = [*given.on, *given.never, *rules]
    if twice := [kind.__name__ for kind in dict.fromkeys(places) if places.count(kind) > 1]:
        yield f"Retry: {', '.join(twice)} stands in more than one place of on, never and rules"


def _is_exception(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception)


def _is_rule(rule: object) -> bool:
    return isinstance(rule, Retry) and not rule.never and not rule.rules and rule.on == ANY and rule.deadline is None
