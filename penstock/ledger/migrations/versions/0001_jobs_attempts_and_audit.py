"""Jobs, their attempts, and the audit of what people do."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)
STATES = "state IN ('queued', 'scheduled', 'running', 'succeeded', 'failed', 'cancelled')"
FINAL_IS_FINISHED = "(state IN ('cancelled', 'failed', 'succeeded')) = (finished_at IS NOT NULL)"
JOB_INDEXES = (
    ("state", "updated_at"),
    ("task", "updated_at"),
    ("queue", "updated_at"),
    ("updated_at",),
    ("finished_at",),
    ("parent_id",),
    ("error_fingerprint",),
)


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "jobs",
        sa.Column("id", ID, primary_key=True),
        sa.Column("task", sa.String(255), nullable=False),
        sa.Column("queue", sa.String(255)),
        sa.Column("priority", sa.SmallInteger),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(16)),
        sa.Column("args", sa.JSON),
        sa.Column("kwargs", sa.JSON),
        sa.Column("result", sa.JSON),
        sa.Column("progress", sa.JSON),
        sa.Column("error_type", sa.String(255)),
        sa.Column("error_message", sa.Text),
        sa.Column("exception", sa.JSON),
        sa.Column("error_traceback", sa.Text),
        sa.Column("error_fingerprint", sa.String(16)),
        sa.Column("retries", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("worker", sa.String(255)),
        sa.Column("enqueued_at", TIME),
        sa.Column("eta", TIME),
        sa.Column("started_at", TIME),
        sa.Column("finished_at", TIME),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("parent_id", ID),
        sa.Column("root_id", ID),
        sa.Column("group_id", ID),
        sa.Column("replay_of", ID),
        sa.Column("schedule", sa.String(255)),
        sa.CheckConstraint(STATES, name=op.f("ck_jobs_state")),
        sa.CheckConstraint(FINAL_IS_FINISHED, name=op.f("ck_jobs_final_is_finished")),
    )
    for columns in JOB_INDEXES:
        op.create_index(op.f(f"ix_jobs_{'_'.join(columns)}"), "jobs", list(columns))
    op.create_table(
        "attempts",
        sa.Column("job_id", ID, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("worker", sa.String(255)),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME),
        sa.Column("outcome", sa.String(16)),
        sa.Column("error_type", sa.String(255)),
        sa.Column("error_message", sa.Text),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("job_id", ID),
        sa.Column("details", sa.JSON),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"])
    op.create_index(op.f("ix_audit_job_id"), "audit", ["job_id"])


def downgrade() -> None:
    """Removes the tables with all that they hold."""
    for table in ("attempts", "jobs", "audit"):
        op.drop_table(table)
