"""What is stored. Ids are text up to 255 (custom ids exist); times are timezone-aware UTC; JSON, never pickle."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

from penstock.job import FINAL, State

ID_LENGTH = 255
naming = {"ix": "ix_%(table_name)s_%(column_0_N_name)s", "ck": "ck_%(table_name)s_%(constraint_name)s"}
metadata = MetaData(naming_convention=naming)


class UTCDateTime(TypeDecorator[datetime]):
    """A point in time. SQLite has no zones, so it stores UTC there and gives the zone back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; a naive value is refused, because nobody knows what it means."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Always aware."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Kind(StrEnum):
    """Which way a message became a dead letter."""

    BURIED = "buried"
    """It ended as a failed job."""
    QUARANTINED = "quarantined"
    """It has no readable id, so no job."""


class Resolution(StrEnum):
    """What a person did with a dead letter."""

    REPLAYED = "replayed"
    DISCARDED = "discarded"


class PlainText(TypeDecorator[str]):
    """Text that every database can store: NUL and lone surrogates, which PostgreSQL refuses, become U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replaces what cannot be stored, so that a strange error message cannot cost an outcome its row."""
        return plain(value) if value is not None else None


def plain(value: str) -> str:
    """``value`` without characters that a database refuses."""
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _one_of(column: str, values: Iterable[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


def _id(name: str, *args: Any, **kwargs: Any) -> Column[str]:
    return Column(name, String(ID_LENGTH).with_variant(String(ID_LENGTH, collation="C"), "postgresql"), *args, **kwargs)


jobs = Table(
    "jobs",
    metadata,
    _id("id", primary_key=True),
    Column("task", String(255), nullable=False),
    Column("queue", String(255)),
    Column("priority", SmallInteger),
    Column("state", String(16), nullable=False),
    Column("reason", String(16)),
    Column("args", JSON),
    Column("kwargs", JSON),
    Column("result", JSON),
    # What a task reports of itself by Celery's update_state: {"state": …, "meta": …}.
    Column("progress", JSON),
    Column("error_type", String(255)),
    Column("error_message", PlainText),
    # Celery's form of the exception ({"exc_type", "exc_module", "exc_message"}), from which AsyncResult makes it anew.
    Column("exception", JSON),
    Column("error_traceback", PlainText),
    Column("error_fingerprint", String(16)),
    Column("retries", Integer, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("worker", String(255)),
    Column("enqueued_at", UTCDateTime),
    Column("eta", UTCDateTime),
    Column("started_at", UTCDateTime),
    Column("finished_at", UTCDateTime),
    Column("updated_at", UTCDateTime, nullable=False),
    _id("parent_id"),
    _id("root_id"),
    _id("group_id"),
    _id("replay_of"),
    Column("schedule", String(255)),
    CheckConstraint(_one_of("state", State), name="state"),
    CheckConstraint(
        f"({_one_of('state', sorted(FINAL))}) = (finished_at IS NOT NULL)",
        name="final_is_finished",
    ),
    Index(None, "state", "updated_at"),
    Index(None, "task", "updated_at"),
    Index(None, "queue", "updated_at"),
    Index(None, "updated_at"),
    Index(None, "finished_at"),
    Index(None, "parent_id"),
    Index(None, "error_fingerprint"),
)

attempts = Table(
    "attempts",
    metadata,
    _id("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("worker", String(255)),
    Column("started_at", UTCDateTime, nullable=False),
    Column("finished_at", UTCDateTime),
    # succeeded, failed, retried, crashed, …: how the attempt ended; empty while it runs, or when its whole worker died.
    Column("outcome", String(16)),
    Column("error_type", String(255)),
    Column("error_message", PlainText),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UTCDateTime, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("action", String(32), nullable=False),
    _id("job_id"),
    Column("details", JSON),
    Index(None, "at"),
    Index(None, "job_id"),
)

# Messages that nobody could run. They outlive their jobs' rows: the payload is all that is left to run them from.
dead_letters = Table(
    "dead_letters",
    metadata,
    # The entry's id in Redis: the same entry, written twice, is one row.
    _id("id", primary_key=True),
    Column("kind", String(16), nullable=False),
    _id("job_id"),
    Column("task", String(255)),
    Column("queue", String(255), nullable=False),
    Column("step", SmallInteger, nullable=False),
    Column("reason", PlainText, nullable=False),
    # Byte by byte as it was on the wire, so that a replay can put the very same message back.
    Column("payload", LargeBinary, nullable=False),
    Column("deliveries", Integer, nullable=False),
    Column("at", UTCDateTime, nullable=False),
    Column("resolution", String(16)),
    Column("resolved_at", UTCDateTime),
    Column("resolved_by", String(255)),
    _id("replay_job_id"),
    CheckConstraint(_one_of("kind", Kind), name="kind"),
    CheckConstraint(_one_of("resolution", Resolution), name="resolution"),
    CheckConstraint("(resolution IS NULL) = (resolved_at IS NULL)", name="resolved_has_time"),
    Index(None, "at"),
    Index(None, "kind", "at"),
    Index(None, "task", "at"),
    Index(None, "queue", "at"),
    Index(None, "resolution", "at"),
    Index(None, "job_id"),
)
