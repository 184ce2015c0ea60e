"""What is written of an attempt in one step: the row, and everything that exists only if the row does. No SQL here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from penstock.job import Reason, State
from penstock.ledger.encoding import Encoded as Encoded
from penstock.ledger.rows import Delivery, Failure, Outcome


class Step(StrEnum):
    """What has happened to a delivery."""

    START = "start"
    """It wants to run, and must not before this has won: it is a repeated delivery, or one from the outbox."""
    RUNNING = "running"
    """A first delivery has been running for a while."""
    END = "end"
    """Its attempt has ended."""
    ASIDE = "aside"
    """It was put aside without having started."""
    BACK = "back"
    """It had taken its START, and goes back to its queue as it came, because it did not begin."""


class Verdict(StrEnum):
    """What a record has changed."""

    WON = "won"
    """It is written, and its follow-ups and counts with it."""
    ENDED = "ended"
    """Nothing: the job had come to its end before."""
    STALE = "stale"
    """Nothing: a newer attempt has the job, or this very step was written before by another claim."""


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """A message that is sent if the record wins, and only then."""

    key: str
    """Of the outbox; no other message has it."""
    job_id: str
    task: str
    queue: str
    step: int
    due: datetime | None = None
    payload: bytes
    """As ``penstock.message.unsealed`` makes it."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The record's job is one part of a chord."""

    counter: str
    """The chord's id, which is its header's group id."""
    job_id: str
    """The part; counted once, however often it is told."""
    position: int | None
    """Its place among the arguments of the body."""
    total: int
    """Parts of the chord."""
    body: Encoded
    """The body's signature as the message carries it, as JSON."""
    queue: str
    """Where the job goes that starts the body."""
    root: str | None = None
    """The job that the part comes from in the end, and so does the body."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One step of one delivery."""

    step: Step
    delivery: Delivery
    outcome: Outcome | None = None
    """Of END and ASIDE."""
    started_at: datetime | None = None
    """When the body began."""
    at: datetime
    """When the step happened."""
    progress: Encoded | None = None
    """What a running job says of itself; of RUNNING."""
    replaced: bool = False
    """The job goes on as another task under the same id: its next attempt counts from zero again."""
    outbox_key: str | None = None
    """The outbox row that this delivery came from; it is done with when the attempt has ended."""
    follow_ups: tuple[FollowUp, ...] = ()
    parts: tuple[Part, ...] = ()
    only_if_waiting: bool = False
    """It ends no attempt: it changes nothing while the job runs. Of an END without a claim; never told to others."""

    def to_words(self) -> dict[str, Any]:
        """As it goes to another process; JSON values only. Arguments, result and exception must be Encoded."""
        words = {name: value for name, value in asdict(self).items() if value not in (None, (), False)}
        words["delivery"] = {
            name: _plain(value) for name, value in words["delivery"].items() if value not in (None, ())
        }
        if self.outcome is not None:
            words["outcome"] = {
                name: _plain(value) for name, value in asdict(self.outcome).items() if value is not None
            }
        words["follow_ups"] = [
            {name: _plain(value) for name, value in asdict(follow_up).items()} for follow_up in self.follow_ups
        ]
        return {name: _plain(value) for name, value in words.items()}

    @classmethod
    def from_words(cls, words: Mapping[str, Any]) -> Record:
        """The record that :meth:`to_words` has made words of."""
        delivery = dict(words["delivery"])
        for name in ("enqueued_at", "eta"):
            delivery[name] = _time(delivery.get(name))
        for name in ("args", "kwargs"):
            if name in delivery:
                delivery[name] = Encoded(delivery[name])
        delivery["tags"] = tuple(delivery.get("tags", ()))
        return cls(
            step=Step(words["step"]),
            delivery=Delivery(**delivery),
            outcome=_outcome(words["outcome"]) if "outcome" in words else None,
            started_at=_time(words.get("started_at")),
            at=datetime.fromisoformat(words["at"]),
            progress=Encoded(words["progress"]) if "progress" in words else None,
            replaced=words.get("replaced", False),
            outbox_key=words.get("outbox_key"),
            follow_ups=tuple(_follow_up(each) for each in words.get("follow_ups", ())),
            parts=tuple(
                Part(**{"position": None, **each, "body": Encoded(each["body"])}) for each in words.get("parts", ())
            ),
        )


def _outcome(words: Mapping[str, Any]) -> Outcome:
    failure = words.get("failure")
    if failure is not None:
        failure = Failure(**{**failure, "exception": Encoded(failure["exception"])})
    return Outcome(
        state=State(words["state"]),
        reason=Reason(words["reason"]) if "reason" in words else None,
        result=Encoded(words["result"]) if "result" in words else None,
        failure=failure,
        due=_time(words.get("due")),
    )


def _follow_up(words: Mapping[str, Any]) -> FollowUp:
    return FollowUp(**{**words, "due": _time(words.get("due")), "payload": words["payload"].encode("latin-1")})


def _time(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


def _words(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return _words(value) if isinstance(value, dict) else value
