"""What is stored. Ids are text up to 255 (custom ids exist); times are timezone-aware UTC; JSON, never pickle."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
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

from penstock import tags
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


class FireState(StrEnum):
    """What has become of a planned time of a schedule."""

    FIRED = "fired"
    """It has a job."""
    WAITING = "waiting"
    """It starts, or is skipped, when an earlier job has ended."""
    SKIPPED = "skipped"
    """A rule of its schedule has left it out."""
    MISSED = "missed"
    """It should have started a job, and nobody was there in time, or none could be made."""


class Origin(StrEnum):
    """Where a fire comes from."""

    PLANNED = "planned"
    TRIGGERED = "triggered"
    """Somebody started it by hand; its time is that of the command."""
    BACKFILLED = "backfilled"
    """Somebody had a past time made up for."""


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


def is_plain(value: object) -> bool:
    """Whether every database takes ``value`` as a text."""
    return isinstance(value, str) and plain(value) == value


class Tags(TypeDecorator[tuple[str, ...]]):
    """Tags as one text; none are NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> str | None:
        """With a space on each side of each."""
        return tags.to_text(value) if value else None

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...]:
        """In their order."""
        return tags.of_text(value)


def _one_of(column: str, values: Iterable[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


def _id(name: str, *args: Any, **kwargs: Any) -> Column[str]:
    return Column(name, String(ID_LENGTH).with_variant(String(ID_LENGTH, collation="C"), "postgresql"), *args, **kwargs)


def _partial(*columns: str, where: str, sqlite: str = "") -> Index:
    """An index of the few rows that have what is looked for; the others cost nothing.

    Args:
        sqlite: the condition there, which has to be what statements say, word by word.
    """
    return Index(None, *columns, postgresql_where=text(where), sqlite_where=text(sqlite or where))


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
    # The fence: what is older than (retries, deliveries), or as old under another token, changes nothing.
    Column("retries", Integer, nullable=False, server_default=text("0")),
    Column("deliveries", Integer, nullable=False, server_default=text("0")),
    # Of the claim that runs the job or has ended it; empty while whoever comes next may have it.
    Column("token", String(255)),
    # How many attempts the ledger has heard of.
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
    Column("tags", Tags),
    CheckConstraint(_one_of("state", State), name="state"),
    CheckConstraint(
        f"({_one_of('state', sorted(FINAL))}) = (finished_at IS NOT NULL)",
        name="final_is_finished",
    ),
    CheckConstraint("state <> 'running' OR started_at IS NOT NULL", name="running_has_started"),
    CheckConstraint("state <> 'blocked' OR reason IS NOT NULL", name="blocked_has_reason"),
    CheckConstraint("retries >= 0 AND deliveries >= 0 AND attempts >= 0", name="counts"),
    # A list is merged from one range of an index for each state, newest first, so each index has the state before the
    # time: no filter has to skip rows of another state. Each ends as the list is sorted, which is where a page begins.
    Index(None, "state", "updated_at", "id"),
    Index(None, "task", "state", "updated_at", "id"),
    Index(None, "queue", "state", "updated_at", "id"),
    _partial("schedule", "state", "updated_at", "id", where="schedule IS NOT NULL"),
    _partial("error_fingerprint", "state", "updated_at", "id", where="error_fingerprint IS NOT NULL"),
    # Has the tags themselves in it, so that a search for one reads no rows but those that have it.
    _partial("state", "updated_at", "id", "tags", where="tags IS NOT NULL"),
    _partial("parent_id", "enqueued_at", "id", where="parent_id IS NOT NULL"),
)

# Every attempt but the only one of a job that needed no more: that one is the job's own row.
attempts = Table(
    "attempts",
    metadata,
    _id("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("retries", Integer, nullable=False, server_default=text("0")),
    Column("deliveries", Integer, nullable=False, server_default=text("0")),
    Column("token", String(255)),
    Column("worker", String(255)),
    Column("started_at", UTCDateTime, nullable=False),
    Column("finished_at", UTCDateTime),
    # succeeded, failed, retried, crashed, lost, …: how the attempt ended.
    Column("outcome", String(16)),
    Column("error_type", String(255)),
    Column("error_message", PlainText),
)

# What each attempt says of itself while it runs. No foreign key here and below: the row of a job that is over within a
# second is written when it ends, and nobody waits for anybody. They go with their job, see `penstock.ledger.retention`.
job_reports = Table(
    "job_reports",
    metadata,
    _id("job_id", primary_key=True),
    # When the attempt began, in milliseconds since 1970.
    Column("began", BigInteger, primary_key=True, autoincrement=False),
    # Of its claim, by which the table of attempts knows it.
    Column("token", String(255)),
    Column("done", Float(53)),
    Column("total", Float(53)),
    Column("note", PlainText),
    Column("at", UTCDateTime),
    # [[seconds since 1970, done, total], …]: some of all reports, for a chart.
    Column("points", JSON),
    # Lines that it has logged, kept or not.
    Column("lines", Integer, nullable=False),
)

# What they have logged, in chunks: the first ones, and the last ones in places that are used in turn.
job_logs = Table(
    "job_logs",
    metadata,
    _id("job_id", primary_key=True),
    Column("began", BigInteger, primary_key=True, autoincrement=False),
    Column("place", SmallInteger, primary_key=True, autoincrement=False),
    # The number of its last line.
    Column("last", Integer, nullable=False),
    # [[number, seconds since 1970, level, logger, text], …]
    Column("lines", JSON, nullable=False),
)

# Messages that are to be in Redis until their job has ended: those of SQL transactions, and follow-ups of outcomes.
outbox = Table(
    "outbox",
    metadata,
    # In the order of which they are published.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    # The message's own name: the job's id, and which of its messages it is. Redis knows it by the same.
    _id("key", nullable=False, unique=True),
    _id("job_id", nullable=False),
    Column("task", String(255), nullable=False),
    Column("queue", String(255), nullable=False),
    Column("step", SmallInteger, nullable=False),
    Column("due", UTCDateTime),
    # As it goes on the wire, without the tag that each publication adds.
    Column("payload", LargeBinary, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("published_at", UTCDateTime),
    _partial("number", where="published_at IS NULL"),
    Index(None, "job_id"),
)

# Chords whose parts are ending; gone when the chord's body is on its way.
counters = Table(
    "counters",
    metadata,
    _id("id", primary_key=True),
    Column("total", Integer, nullable=False),
    Column("remaining", Integer, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("fired_at", UTCDateTime),
    CheckConstraint("remaining >= 0 AND remaining <= total", name="remaining"),
    CheckConstraint("(remaining = 0) = (fired_at IS NOT NULL)", name="fired_at_zero"),
    _partial("fired_at", where="fired_at IS NOT NULL"),
)

# Who has been counted: a part counts once, however often its end is told.
counted = Table(
    "counted",
    metadata,
    _id("counter_id", ForeignKey("counters.id", ondelete="CASCADE"), primary_key=True),
    _id("job_id", primary_key=True),
    # Its place among the arguments of the body.
    Column("position", Integer),
)

# GroupResult.save().
groups = Table(
    "groups",
    metadata,
    _id("id", primary_key=True),
    Column("members", JSON, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Index(None, "created_at"),
)

# How many jobs have ever come to each end, also those whose rows are gone: one side of the balance sheet.
tallies = Table(
    "tallies",
    metadata,
    Column("queue", String(255), primary_key=True),
    Column("state", String(16), primary_key=True),
    # Several rows for one sum, so that workers do not wait for each other.
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
)

# How many jobs have failed in each hour, by error and task; they outlive the rows of their jobs.
failure_hours = Table(
    "failure_hours",
    metadata,
    Column("fingerprint", String(16), primary_key=True),
    Column("task", String(255), primary_key=True),
    # Its beginning.
    Column("hour", UTCDateTime, primary_key=True),
    # Several rows for one sum, so that workers do not wait for each other.
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
    Column("first_at", UTCDateTime, nullable=False),
    Column("last_at", UTCDateTime, nullable=False),
    # One of them, as a rule the last; its row may have been deleted since.
    _id("job_id", nullable=False),
    Index(None, "hour"),
)

# What has become of the jobs of a queue in each minute, and in each quarter of an hour: both from the same counts, so
# that a day is read from a fifteenth of the rows. Depths are a table of their own, because a queue has many who count
# but one depth: in one table each keeper would have to measure it, or all of them would wait for one row.
queue_counts = Table(
    "queue_counts",
    metadata,
    Column("queue", String(255), primary_key=True),
    # How long it is: see `penstock.ledger.minutes.LENGTHS`.
    Column("seconds", Integer, primary_key=True, autoincrement=False),
    # Its beginning.
    Column("at", UTCDateTime, primary_key=True),
    # The process that has counted. Nobody else writes its rows, so nobody waits, and it can write them anew as a whole.
    Column("writer", String(255), primary_key=True),
    Column("succeeded", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("cancelled", Integer, nullable=False),
    # Attempts that ended and left their job to another.
    Column("retried", Integer, nullable=False),
    # How many attempts have waited and run how long, as `penstock.ledger.histogram` has it.
    Column("waits", JSON, nullable=False),
    Column("runs", JSON, nullable=False),
    Index(None, "at"),
)

# What has waited in a queue in each minute, and the most that has in each quarter of an hour.
queue_depths = Table(
    "queue_depths",
    metadata,
    Column("queue", String(255), primary_key=True),
    Column("seconds", Integer, primary_key=True, autoincrement=False),
    Column("at", UTCDateTime, primary_key=True),
    Column("ready", Integer, nullable=False),
    Column("parked", Integer, nullable=False),
    Column("blocked", Integer, nullable=False),
    Column("in_flight", Integer, nullable=False),
    # How long the oldest ready message has waited; empty: there was none, or its producer did not say.
    Column("oldest_seconds", Float),
    # How many jobs the queue had ever accepted, as Redis has counted, when it was looked at first.
    Column("accepted", BigInteger, nullable=False),
    Column("sampled_at", UTCDateTime, nullable=False),
    Index(None, "at"),
)

# When tasks start: the declared ones, and those that were added at run time.
schedules = Table(
    "schedules",
    metadata,
    _id("name", primary_key=True),
    # Of the timetable: cron, interval, …; celery: an object that only who declares it can ask.
    Column("kind", String(16), nullable=False),
    # As `penstock.scheduler.Schedule.words` makes it.
    Column("definition", JSON, nullable=False),
    # Another number with each other definition.
    Column("version", Integer, nullable=False, server_default=text("1")),
    # The application in whose declarations it is; empty: it was added at run time.
    Column("declared_by", String(255)),
    # The next planned time that nothing is decided of, and when it is to be decided, jitter included.
    Column("planned_at", UTCDateTime),
    Column("due_at", UTCDateTime),
    # The planned time of the last fire that has started a job.
    Column("previous_at", UTCDateTime),
    # How many planned times have started a job or wait to, and how many jobs have failed in a row.
    Column("fires", Integer, nullable=False, server_default=text("0")),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("paused_at", UTCDateTime),
    Column("paused_by", String(255)),
    Column("pause_note", PlainText),
    Column("created_at", UTCDateTime, nullable=False),
    Column("updated_at", UTCDateTime, nullable=False),
    CheckConstraint("(planned_at IS NULL) = (due_at IS NULL)", name="planned_is_due"),
    CheckConstraint("(paused_at IS NULL) = (paused_by IS NULL)", name="paused_has_time"),
    _partial("due_at", where="due_at IS NOT NULL"),
)

# What has become of each planned time, each once: the primary key is what makes a fire exactly one. They outlive their
# schedules.
fires = Table(
    "fires",
    metadata,
    _id("schedule", primary_key=True),
    Column("planned_at", UTCDateTime, primary_key=True),
    Column("origin", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    # Why it was skipped or missed, or waits.
    Column("reason", PlainText),
    _id("job_id"),
    Column("decided_at", UTCDateTime, nullable=False),
    # Its job's end is waited for, because the schedule has rules about that.
    Column("is_followed", Boolean(create_constraint=False), nullable=False),
    CheckConstraint(_one_of("state", FireState), name="state"),
    CheckConstraint(_one_of("origin", Origin), name="origin"),
    CheckConstraint("(state = 'fired') = (job_id IS NOT NULL)", name="fired_has_job"),
    CheckConstraint("state = 'fired' OR reason IS NOT NULL", name="others_have_reason"),
    CheckConstraint("state = 'fired' OR NOT is_followed", name="followed_has_job"),
    Index(None, "decided_at"),
    _partial("schedule", where="is_followed", sqlite="is_followed = 1"),
    _partial("schedule", "planned_at", where="state = 'waiting'"),
    _partial("state", "decided_at", "schedule", "planned_at", where="state IN ('skipped', 'missed')"),
    _partial("job_id", where="job_id IS NOT NULL"),
)

# Schedulers, and when each has last looked what is due.
beats = Table(
    "beats",
    metadata,
    _id("name", primary_key=True),
    Column("started_at", UTCDateTime, nullable=False),
    Column("seen_at", UTCDateTime, nullable=False),
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
    # Each ends as the list is sorted, which is where a page begins.
    Index(None, "at", "id"),
    Index(None, "job_id", "at", "id"),
    Index(None, "actor", "at", "id"),
    Index(None, "action", "at", "id"),
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
