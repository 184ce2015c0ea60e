"""What is stored. Ids are text up to 255 (custom ids exist); times are timezone-aware UTC; JSON, never pickle."""

from __future__ import annotations

from datetime import UTC, datetime
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


def _one_of(column: str, values: list[str]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


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
    CheckConstraint(_one_of("state", [state.value for state in State]), name="state"),
    CheckConstraint(
        f"({_one_of('state', sorted(state.value for state in FINAL))}) = (finished_at IS NOT NULL)",
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
    # succeeded, failed, retried, …: how the attempt ended; empty while it runs, or when its process died.
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
