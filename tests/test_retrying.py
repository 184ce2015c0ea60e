"""When a job starts again: pauses, rules and decisions, without any worker."""

import math
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.message import Message
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders

from penstock import Cancel, Discard, Retry, Snooze
from penstock.errors import DeclarationError, UnknownOption
from penstock.message import RETRIES_BY_RULE, SNOOZES
from penstock.retrying import Again, Tries, decision_in

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


class Limited(ConnectionError):
    """Has a rule of its own in these tests."""


class Throttled(Limited):
    """Comes under the rule of its base."""


async def coroutine(attempt: int, error: Exception) -> float:
    return 1


def asking(pause: Any) -> Exception:
    error = OSError()
    error.retry_after = pause  # type: ignore[attr-defined]
    return error


# -- declaring -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"attempts": 0}, "at least 1"),
        ({"attempts": 2.5}, "at least 1"),
        ({"attempts": True}, "at least 1"),
        ({"backoff": "random"}, "exponential, linear or constant, or a function"),
        ({"backoff": coroutine}, "exponential, linear or constant, or a function"),
        ({"backoff": lambda: 1}, "with the number of the attempt and its error"),
        ({"base": 0}, "0 < base <= cap"),
        ({"base": 10, "cap": 5}, "0 < base <= cap"),
        ({"cap": math.inf}, "0 < base <= cap"),
        ({"base": 1e306, "cap": 1e306}, "0 < base <= cap <= 10,000,000,000"),
        ({"deadline": 1e306}, "at most 10,000,000,000"),
        ({"jitter": 0.5}, "True or False"),
        ({"deadline": 0}, "more than 0"),
        ({"on": [ConnectionError]}, "a tuple of exception classes"),
        ({"on": ("ConnectionError",)}, "a tuple of exception classes"),
        ({"on": ()}, "give on or rules"),
        ({"never": PermissionError}, r"Retry\(never=.*a tuple of exception classes"),
        ({"rules": {"Limited": Retry()}}, "a Retry for each exception class"),
        ({"rules": {Limited: 20}}, "a Retry for each exception class"),
        ({"rules": {Limited: Retry(deadline=5)}}, "attempts, backoff, base, cap and jitter only"),
        ({"rules": {Limited: Retry(never=(OSError,))}}, "attempts, backoff, base, cap and jitter only"),
        ({"on": (Limited,), "never": (Limited,)}, "Limited stands in more than one place"),
        ({"never": (Limited,), "rules": {Limited: Retry()}}, "Limited stands in more than one place"),
    ],
)
def test_a_retry_that_cannot_work_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DeclarationError, match=complaint):
        Retry(**options)


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("atempts", r"Retry\(atempts=\.\.\.\): there is no such option; did you mean attempts\?"),
        ("max_retries", "did you mean attempts"),
        ("autoretry_for", "did you mean on"),
        ("dont_autoretry_for", "did you mean never"),
        ("retry_backoff_max", "did you mean cap"),
        ("zzz", "the options are attempts, backoff, base, cap, jitter, on, never, rules, deadline"),
    ],
)
def test_a_misspelt_option_of_a_retry_is_refused(option: str, complaint: str) -> None:
    with pytest.raises(UnknownOption, match=complaint):
        Retry(**{option: 3})  # type: ignore[arg-type]


# -- pauses --------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(attempt=st.integers(1, 10_000), base=st.floats(0.01, 100), cap=st.floats(100, 10_000))
def test_no_pause_exceeds_its_cap_or_falls_below_half_of_the_plan(attempt: int, base: float, cap: float) -> None:
    for backoff in ("exponential", "linear", "constant"):
        plan = Retry(base=base, cap=cap, backoff=backoff, jitter=False).pause(attempt, OSError())
        drawn = Retry(base=base, cap=cap, backoff=backoff).pause(attempt, OSError())
        assert plan <= cap
        assert plan / 2 <= drawn <= plan


def test_pauses_grow_as_the_backoff_says() -> None:
    def pauses(backoff: Any) -> list[float]:
        return [Retry(base=1, backoff=backoff, jitter=False).pause(n, OSError()) for n in (1, 2, 3, 4)]

    assert pauses("exponential") == [1, 2, 4, 8]
    assert pauses("linear") == [1, 2, 3, 4]
    assert pauses("constant") == [1, 1, 1, 1]


def test_a_function_says_the_pause_by_attempt_and_error_up_to_the_cap() -> None:
    retry = Retry(backoff=lambda attempt, error: attempt * len(str(error)), cap=25)
    assert [retry.pause(attempt, OSError("ten digits")) for attempt in (0, 1, 2, 3)] == [0, 10, 20, 25]


def failing(attempt: int, error: Exception) -> float:
    raise KeyError("rate")


@pytest.mark.parametrize(
    "backoff",
    [
        failing,
        *(lambda _attempt, _error, said=said: said for said in ("soon", None, -1, math.nan, math.inf, True, 10**400)),
    ],
)
def test_a_function_that_says_no_pause_is_logged_and_costs_nothing(
    backoff: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    retry = Retry(backoff=backoff, base=3, jitter=False)
    assert retry.pause(2, OSError(), "shop.pay") == 6
    assert "backoff of shop.pay" in caplog.text


@pytest.mark.parametrize(
    ("asked", "pause"),
    [
        (30, 30.0),
        (0, 0.0),
        (timedelta(minutes=1), 60.0),
        (datetime.now(UTC) - timedelta(hours=1), 0.0),
        (datetime.now(timezone(timedelta(hours=9))) + timedelta(days=1), 600.0),
    ],
)
def test_an_error_that_says_when_to_come_back_is_believed(asked: Any, pause: float) -> None:
    assert Retry(base=7, jitter=False).pause(1, asking(asked)) == pause
    assert Retry(backoff=lambda _attempt, _error: 5).pause(1, asking(asked)) == pause


def test_no_error_has_a_job_wait_beyond_the_cap() -> None:
    assert Retry(cap=10).pause(1, asking(30)) == 10


@given(asked=st.sampled_from([-1, True, math.nan, datetime.now(), "soon", b"5", timedelta(-1), 10**400]) | st.text())
def test_an_error_that_asks_for_nonsense_gets_the_usual_pause(asked: Any) -> None:
    assert Retry(base=7, jitter=False).pause(1, asking(asked)) == 7


def with_a_response(header: str) -> Exception:
    """As httpx, requests and tornado have it."""
    response = HTTPResponse(HTTPRequest("http://a"), 503, HTTPHeaders({"Retry-After": header}))
    return HTTPClientError(503, response=response)


def with_headers(header: str) -> Exception:
    """As aiohttp and urllib have it."""
    message = Message()
    message["retry-after"] = header
    return HTTPError("http://a", 503, "busy", message, None)


def with_a_dict(header: str) -> Exception:
    error = OSError()
    error.response = SimpleNamespace(headers={"retry-after": header})  # type: ignore[attr-defined]
    return error


SOURCES = pytest.mark.parametrize("source", [with_a_response, with_headers, with_a_dict])


@SOURCES
@pytest.mark.parametrize(("header", "pause"), [("120", 120.0), (" 1.5 ", 1.5), ("999999999999", 600.0)])
def test_a_response_that_says_retry_after_is_believed(source: Any, header: str, pause: float) -> None:
    assert Retry().pause(1, source(header)) == pause


@SOURCES
def test_a_response_may_say_it_as_a_date(source: Any) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < Retry().pause(1, source(date)) <= 90


@pytest.mark.parametrize("source", [with_headers, with_a_dict])
@given(header=st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="0123456789")))
def test_a_header_of_nonsense_changes_nothing(source: Any, header: str) -> None:
    assert Retry(base=7, jitter=False).pause(1, source(header)) == 7


def test_a_response_that_cannot_be_looked_at_changes_nothing() -> None:
    class Guarded(Exception):
        @property
        def response(self) -> Any:
            raise RuntimeError("not before it was read")

        retry_after = response

    assert Retry(base=7, jitter=False).pause(1, Guarded()) == 7
    for headers in (7, {}, SimpleNamespace(get=None)):
        error = OSError()
        error.response = SimpleNamespace(headers=headers)  # type: ignore[attr-defined]
        assert Retry(base=7, jitter=False).pause(1, error) == 7


# -- rules ---------------------------------------------------------------------------------------------------------

RULED = Retry(
    attempts=3,
    on=(ConnectionError, KeyError),
    never=(ConnectionRefusedError,),
    rules={Limited: Retry(attempts=5, backoff="linear", base=30, jitter=False)},
)


def again(retry: Retry, *errors: Exception) -> Again | None:
    """What follows on the last of these errors, when each attempt has ended by one of them."""
    headers: dict[str, Any] = {}
    following: Again | None = None
    for retries, error in enumerate(errors):
        following = retry.again(error, Tries.of(retries, headers.get), "t")
        headers |= following.headers if following else {}
    return following


def test_an_error_comes_under_the_class_that_is_nearest_to_its_own() -> None:
    assert again(RULED, ConnectionResetError())
    assert again(RULED, ConnectionRefusedError()) is None
    assert again(RULED, ValueError()) is None
    for error in (Limited(), Throttled()):
        following = again(RULED, error)
        assert following is not None
        assert following.pause == 30


def test_a_rule_within_never_and_never_within_a_rule_hold() -> None:
    retry = Retry(on=(), never=(Throttled,), rules={Limited: Retry()})
    assert again(retry, Limited())
    assert again(retry, Throttled()) is None
    retry = Retry(never=(OSError,), rules={Limited: Retry()})
    assert again(retry, Limited())
    assert again(retry, ConnectionError()) is None


def test_every_rule_counts_its_own_attempts() -> None:
    assert again(RULED, *[KeyError()] * 2)
    assert again(RULED, *[KeyError()] * 3) is None
    assert again(RULED, *[Limited()] * 4)
    assert again(RULED, *[Limited()] * 5) is None
    mixed = [Limited(), Limited(), KeyError(), Limited(), KeyError()]
    following = again(RULED, *mixed, Limited())
    assert following is not None
    assert following.pause == 4 * 30
    assert again(RULED, *mixed, KeyError()) is None


def test_only_jobs_that_came_under_a_rule_carry_a_count() -> None:
    plain, ruled = again(RULED, KeyError(), KeyError()), again(RULED, KeyError(), Limited())
    assert plain is not None
    assert plain.headers == {}
    assert ruled is not None
    assert ruled.headers == {RETRIES_BY_RULE: {"tests.test_retrying.Limited": 1}}


@settings(deadline=None)
@given(
    retries=st.integers(0, 50),
    snoozes=JSON | st.integers(-3, 60),
    counts=JSON | st.dictionaries(st.text(), st.integers(-3, 60), max_size=3),
)
def test_what_a_message_says_of_its_past_grants_no_endless_attempts(retries: int, snoozes: Any, counts: Any) -> None:
    tries = Tries.of(retries, {SNOOZES: snoozes, RETRIES_BY_RULE: counts}.get)
    assert 1 <= tries.attempt <= retries + 1
    assert 1 <= tries.of_rule(None) <= tries.attempt
    assert tries.snoozes + tries.attempt == retries + 1


def test_the_deadline_is_over_when_the_pause_would_outlast_it() -> None:
    due = datetime.now(UTC) - timedelta(seconds=50)
    assert not Retry(deadline=60).is_too_late(due, 5)
    assert Retry(deadline=60).is_too_late(due, 15)
    assert not Retry().is_too_late(due, 1e9)


# -- decisions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pause", [60, 60.0, timedelta(minutes=1)])
def test_a_snooze_is_due_after_its_pause(pause: Any) -> None:
    assert abs(Snooze(pause).due - datetime.now(UTC) - timedelta(minutes=1)) < timedelta(seconds=20)


def test_a_snooze_is_due_at_its_moment() -> None:
    moment = datetime.now(UTC) + timedelta(minutes=1)
    assert Snooze(moment).due == moment


def test_a_snooze_until_a_moment_that_is_over_is_due_now() -> None:
    assert Snooze(datetime(2020, 1, 1, tzinfo=UTC)).due > datetime.now(UTC) - timedelta(seconds=20)


@pytest.mark.parametrize(
    "until", [-1, True, math.nan, math.inf, 1e300, timedelta(-1), datetime(2026, 1, 1), timedelta.max, "5", None]
)
def test_a_snooze_until_nobody_knows_when_is_refused(until: Any) -> None:
    with pytest.raises(ValueError, match=r"seconds, a timedelta, or a datetime with a time zone"):
        Snooze(until)


@pytest.mark.parametrize("decision", [Snooze(60), Discard("no such user"), Cancel("not wanted")])
def test_a_decision_survives_the_way_between_processes(decision: Exception) -> None:
    copy = pickle.loads(pickle.dumps(decision))  # noqa: S301
    assert (type(copy), str(copy)) == (type(decision), str(decision))


def test_a_decision_is_found_in_a_group_of_nothing_else() -> None:
    cancel = Cancel("not wanted")
    assert decision_in(cancel) is cancel
    assert decision_in(ExceptionGroup("of a task group", [ExceptionGroup("inner", [cancel])])) is cancel
    assert decision_in(ExceptionGroup("both", [cancel, ValueError()])) is None
    assert decision_in(ValueError()) is None
