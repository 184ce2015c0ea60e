"""Dead letters, and the state of a job that is put aside."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)
STATES = "state IN ('queued', 'scheduled', 'running', 'succeeded', 'failed', 'cancelled')"
STATES_WITH_BLOCKED = "state IN ('queued', 'scheduled', 'blocked', 'running', 'succeeded', 'failed', 'cancelled')"
LETTER_INDEXES = (("at",), ("kind", "at"), ("task", "at"), ("queue", "at"), ("resolution", "at"), ("job_id",))


def upgrade() -> None:
    """Lets jobs be blocked and makes the table."""
    _allow(STATES_WITH_BLOCKED)
    op.create_table(
        "dead_letters",
        sa.Column("id", ID, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("job_id", ID),
        sa.Column("task", sa.String(255)),
        sa.Column("queue", sa.String(255), nullable=False),
        sa.Column("step", sa.SmallInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("deliveries", sa.Integer, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("resolution", sa.String(16)),
        sa.Column("resolved_at", TIME),
        sa.Column("resolved_by", sa.String(255)),
        sa.Column("replay_job_id", ID),
        sa.CheckConstraint("kind IN ('buried', 'quarantined')", name=op.f("ck_dead_letters_kind")),
        sa.CheckConstraint("resolution IN ('replayed', 'discarded')", name=op.f("ck_dead_letters_resolution")),
        sa.CheckConstraint(
            "(resolution IS NULL) = (resolved_at IS NULL)", name=op.f("ck_dead_letters_resolved_has_time")
        ),
    )
    for columns in LETTER_INDEXES:
        op.create_index(op.f(f"ix_dead_letters_{'_'.join(columns)}"), "dead_letters", list(columns))


def downgrade() -> None:
    """Removes the table with all that it holds; blocked jobs count as queued, and no reason stays that 0001 lacks."""
    op.drop_table("dead_letters")
    op.execute("UPDATE jobs SET state = 'queued' WHERE state = 'blocked'")
    op.execute("UPDATE jobs SET reason = NULL WHERE reason = 'unknown task'")
    op.execute("UPDATE jobs SET reason = 'rejected' WHERE reason = 'unreadable'")
    _allow(STATES)


def _allow(states: str) -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_constraint(op.f("ck_jobs_state"), type_="check")
        jobs.create_check_constraint(op.f("ck_jobs_state"), states)
