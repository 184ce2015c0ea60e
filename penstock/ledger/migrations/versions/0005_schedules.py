"""Schedules, what has become of their planned times, and the schedulers that look after them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

ID = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)
PARTIAL = (
    ("schedules", ("due_at",), "due_at IS NOT NULL"),
    ("fires", ("schedule", "planned_at"), "state = 'waiting'"),
    ("fires", ("job_id",), "job_id IS NOT NULL"),
)


def upgrade() -> None:
    """Schedules that are declared get their rows when the first scheduler starts."""
    op.create_table(
        "schedules",
        sa.Column("name", ID, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("definition", sa.JSON, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column("declared_by", sa.String(255)),
        sa.Column("planned_at", TIME),
        sa.Column("due_at", TIME),
        sa.Column("previous_at", TIME),
        sa.Column("fires", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("failures", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("paused_at", TIME),
        sa.Column("paused_by", sa.String(255)),
        sa.Column("pause_note", sa.Text),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("(planned_at IS NULL) = (due_at IS NULL)", name=op.f("ck_schedules_planned_is_due")),
        sa.CheckConstraint("(paused_at IS NULL) = (paused_by IS NULL)", name=op.f("ck_schedules_paused_has_time")),
    )
    op.create_table(
        "fires",
        sa.Column("schedule", ID, primary_key=True),
        sa.Column("planned_at", TIME, primary_key=True),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("job_id", ID),
        sa.Column("decided_at", TIME, nullable=False),
        sa.Column("is_followed", sa.Boolean(create_constraint=False), nullable=False),
        sa.CheckConstraint("state IN ('fired', 'waiting', 'skipped', 'missed')", name=op.f("ck_fires_state")),
        sa.CheckConstraint("origin IN ('planned', 'triggered', 'backfilled')", name=op.f("ck_fires_origin")),
        sa.CheckConstraint("(state = 'fired') = (job_id IS NOT NULL)", name=op.f("ck_fires_fired_has_job")),
        sa.CheckConstraint("state = 'fired' OR reason IS NOT NULL", name=op.f("ck_fires_others_have_reason")),
        sa.CheckConstraint("state = 'fired' OR NOT is_followed", name=op.f("ck_fires_followed_has_job")),
    )
    op.create_index(op.f("ix_fires_decided_at"), "fires", ["decided_at"])
    # SQLite uses an index only for a statement with its very words, and SQLAlchemy compares booleans with 1 there.
    op.create_index(
        op.f("ix_fires_schedule"),
        "fires",
        ["schedule"],
        postgresql_where=sa.text("is_followed"),
        sqlite_where=sa.text("is_followed = 1"),
    )
    for table, columns, where in PARTIAL:
        only = sa.text(where)
        name = op.f(f"ix_{table}_{'_'.join(columns)}")
        op.create_index(name, table, list(columns), postgresql_where=only, sqlite_where=only)
    op.create_table(
        "beats",
        sa.Column("name", ID, primary_key=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
    )


def downgrade() -> None:
    """Schedules that were added at run time go, and so does what is known of all fires."""
    for table in ("beats", "fires", "schedules"):
        op.drop_table(table)
