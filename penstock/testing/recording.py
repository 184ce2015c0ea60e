"""The keeper of what runs in the process of the tests: records, publishes what follows, and settles, each at once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from penstock.broker.scripts import Scripts, Settlement
from penstock.ledger.recorder import Recorder
from penstock.ledger.records import Record, Verdict
from penstock.outbox import outgoing

Answers = list[tuple[str, Verdict | None]]


class Recording:
    """Of one test, for all of its threads."""

    def __init__(self, scripts: Scripts, database_url: str) -> None:
        self._scripts = scripts
        self._recorder = Recorder(database_url)
        self._answers: ContextVar[Answers] = ContextVar("penstock_answers")
        self._follows: ContextVar[bool] = ContextVar("penstock_follows", default=False)

    @contextmanager
    def asking(self) -> Iterator[Answers]:
        """The answers to what is asked inside of the block, and not by another thread at this moment."""
        answers: Answers = []
        mark = self._answers.set(answers)
        try:
            yield answers
        finally:
            self._answers.reset(mark)

    def ask(self, record: Record, is_doubtful: bool) -> None:
        """Whether a delivery may start, which the ledger says at once."""
        assert record.delivery.token is not None
        self._answers.get().append((record.delivery.token, self._recorder.write([record]).verdicts[0]))

    def write(self, records: Sequence[Record]) -> None:
        """Commits the end of a job, and publishes what follows from it."""
        if not records:
            return
        written = self._recorder.write(records)
        if written.messages:
            with self.following():
                self._scripts.publish_outbox(
                    [outgoing(message, secrets.token_urlsafe(8)) for message in written.messages]
                )
        ended = [
            (record.delivery.id, record.outcome.state.value)
            for record, verdict in zip(records, written.verdicts, strict=True)
            if verdict is Verdict.WON and record.outcome is not None and record.outcome.state.is_final
        ]
        self._scripts.announce(ended)

    @property
    def is_following(self) -> bool:
        """Whether what is sent at this moment follows from something else, and is run after that."""
        return self._follows.get()

    @contextmanager
    def following(self) -> Iterator[None]:
        """What is sent inside of the block follows from something else."""
        mark = self._follows.set(True)
        try:
            yield
        finally:
            self._follows.reset(mark)

    def record(self, record: Record) -> None:
        """Of a message that was put aside."""
        self.write([record])

    def settle(self, settlement: Settlement) -> None:
        """Ends a claim."""
        self._scripts.settle([settlement])

    def unindex(self, jobs: list[tuple[str, str]]) -> None:
        """They wait no more."""
        self._scripts.unindex(jobs)
