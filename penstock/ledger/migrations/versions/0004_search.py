"""Indexes of which each serves a whole filter of a list, and failures counted by hour, error and task."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ID = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)
OLD_INDEXES = (
    ("jobs", ("task", "updated_at", "id"), None),
    ("jobs", ("queue", "updated_at", "id"), None),
    ("jobs", ("updated_at", "id"), None),
    ("jobs", ("parent_id",), "parent_id IS NOT NULL"),
    ("jobs", ("error_fingerprint", "updated_at", "id"), "error_fingerprint IS NOT NULL"),
)
NEW_INDEXES = (
    ("jobs", ("task", "state", "updated_at", "id"), None),
    ("jobs", ("queue", "state", "updated_at", "id"), None),
    ("jobs", ("schedule", "state", "updated_at", "id"), "schedule IS NOT NULL"),
    ("jobs", ("parent_id", "enqueued_at", "id"), "parent_id IS NOT NULL"),
    ("jobs", ("error_fingerprint", "state", "updated_at", "id"), "error_fingerprint IS NOT NULL"),
    ("counters", ("fired_at",), "fired_at IS NOT NULL"),
    ("groups", ("created_at",), None),
)
HOURS = {
    "sqlite": "strftime('%Y-%m-%d %H:00:00.000000', finished_at)",
    # In UTC, whatever the zone of the session: some zones are half an hour off.
    "postgresql": "date_trunc('hour', finished_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'",
}


def upgrade() -> None:
    """Counts the failures of the jobs that are there; which of them was the last of its hour is not looked for."""
    _exchange(OLD_INDEXES, NEW_INDEXES)
    op.create_table(
        "failure_hours",
        sa.Column("fingerprint", sa.String(16), primary_key=True),
        sa.Column("task", sa.String(255), primary_key=True),
        sa.Column("hour", TIME, primary_key=True),
        sa.Column("shard", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.Column("job_id", ID, nullable=False),
    )
    op.create_index(op.f("ix_failure_hours_hour"), "failure_hours", ["hour"])
    hour = HOURS[op.get_bind().dialect.name]
    failed = "FROM jobs WHERE error_fingerprint IS NOT NULL AND state = 'failed'"
    op.execute(
        "INSERT INTO failure_hours (fingerprint, task, hour, shard, count, first_at, last_at, job_id) "
        f"SELECT error_fingerprint, task, {hour}, 0, count(*), min(finished_at), max(finished_at), max(id) "
        f"{failed} GROUP BY error_fingerprint, task, {hour}"
    )


def downgrade() -> None:
    """The counts go; the jobs that they were made of stay."""
    op.drop_table("failure_hours")
    _exchange(NEW_INDEXES, OLD_INDEXES)


def _exchange(
    old: tuple[tuple[str, tuple[str, ...], str | None], ...], new: tuple[tuple[str, tuple[str, ...], str | None], ...]
) -> None:
    for table, columns, _ in old:
        op.drop_index(_name(table, columns), table)
    for table, columns, where in new:
        only = sa.text(where) if where else None
        op.create_index(_name(table, columns), table, list(columns), postgresql_where=only, sqlite_where=only)


def _name(table: str, columns: tuple[str, ...]) -> str:
    return str(op.f(f"ix_{table}_{'_'.join(columns)}"))
