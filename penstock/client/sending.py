"""Sending for coroutines: what they submit at the same time reaches Redis in common round trips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from penstock.client.gathering import Gathering, Request
from penstock.client.publishing import MOST_BYTES, MOST_JOBS, Destination, Publisher
from penstock.errors import BrokerUnavailable
from penstock.threads import noted

CALLS_AT_ONCE = 8
"""Calls that are on their way at the same time, each on a connection of its own."""


class Parcel(NamedTuple):
    """Jobs that are accepted together or not at all."""

    publisher: Publisher
    destination: Destination
    messages: Sequence[tuple[str, bytes]]
    """Pairs of id and message."""


def begin_for_loop(parcel: Parcel) -> Request[Parcel, None]:
    """Has a parcel sent; :func:`settle_for_loop` awaits that Redis has taken it."""
    return sends.put(parcel)


async def settle_for_loop(request: Request[Parcel, None]) -> None:
    """Awaits that Redis has taken a parcel.

    Raises:
        BrokerUnavailable: Redis did not.
        CancelledError: with a note that says what became of the jobs.
    """
    with noted(partial(fate, request)):
        await request.answer


def fate(request: Request[Parcel, None]) -> str:
    """What becomes of a parcel that nobody waits for any more."""
    request.answer.cancel()
    messages = request.wanted.messages
    more = f" and {len(messages) - 1:,} more of the same call" if len(messages) > 1 else ""
    what = "not submitted"
    if not request.answer.cancelled():
        error = request.answer.exception()
        what = f"not submitted ({error})" if error else "submitted, and Redis had answered already"
    elif sends.was_begun(request):
        what = "on the way to Redis, which may take it all the same; Job(id, task).refresh() tells"
    return f"job {messages[0][0]}{more}: {what}"


def carry_out(parcels: list[Parcel]) -> list[Exception | None]:
    """Sends parcels, and says for each what has prevented it."""
    answers: list[Exception | None] = [None] * len(parcels)
    calls = list(_calls(parcels))
    for first in range(0, len(calls), CALLS_AT_ONCE):
        begun = [(places, _begin([parcels[place] for place in places])) for places in calls[first:][:CALLS_AT_ONCE]]
        errors = [(places, _error_of(wait)) for places, wait in begun]
        for places, error in errors:
            for place in places:
                answers[place] = error
        if unavailable := next((error for _, error in errors if isinstance(error, BrokerUnavailable)), None):
            # The rest is not tried: each call would wait as long, and all that come behind it.
            for place in (place for places in calls[first + CALLS_AT_ONCE :] for place in places):
                answers[place] = unavailable
            break
    return answers


def _calls(parcels: list[Parcel]) -> list[list[int]]:
    """Which parcels go together in one call, by their places: those for one destination, in their order."""
    calls: list[list[int]] = []
    last: dict[tuple[int, Destination], _Load] = {}
    for place, (publisher, destination, messages) in enumerate(parcels):
        key = id(publisher), destination
        jobs, size = len(messages), sum(len(raw) for _, raw in messages)
        load = last.get(key)
        if load is None or load.jobs + jobs > MOST_JOBS or load.size + size > MOST_BYTES:
            load = last[key] = _Load()
            calls.append(load.places)
        load.places.append(place)
        load.jobs += jobs
        load.size += size
    return calls


class _Load:
    """What a call carries so far."""

    def __init__(self) -> None:
        self.places: list[int] = []
        self.jobs = self.size = 0


def _begin(parcels: list[Parcel]) -> Callable[[], None]:
    """Sends a call; what is returned waits for its answer, and raises also what has prevented it."""
    publisher, destination, _ = parcels[0]
    try:
        return publisher.begin_quietly(destination, [each for parcel in parcels for each in parcel.messages])
    except Exception as error:
        return partial(_raise, error)


def _raise(error: Exception) -> None:
    raise error


def _error_of(wait: Callable[[], None]) -> Exception | None:
    try:
        wait()
    except Exception as error:
        return error
    return None


# One thread, so that jobs that are submitted at the same time come in the order in which their coroutines began.
sends = Gathering("penstock-sending", carry_out, threads=1, most=MOST_JOBS)
