"""What has waited in each queue and what has become of its jobs, by minutes and quarters of an hour."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TIME = sa.DateTime(timezone=True)
TABLES = ("queue_counts", "queue_depths")


def upgrade() -> None:
    """Both begin empty: what was before nobody has measured."""
    op.create_table(
        "queue_counts",
        sa.Column("queue", sa.String(255), primary_key=True),
        sa.Column("seconds", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", TIME, primary_key=True),
        sa.Column("writer", sa.String(255), primary_key=True),
        sa.Column("succeeded", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("cancelled", sa.Integer, nullable=False),
        sa.Column("retried", sa.Integer, nullable=False),
        sa.Column("waits", sa.JSON, nullable=False),
        sa.Column("runs", sa.JSON, nullable=False),
    )
    op.create_table(
        "queue_depths",
        sa.Column("queue", sa.String(255), primary_key=True),
        sa.Column("seconds", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", TIME, primary_key=True),
        sa.Column("ready", sa.Integer, nullable=False),
        sa.Column("parked", sa.Integer, nullable=False),
        sa.Column("blocked", sa.Integer, nullable=False),
        sa.Column("in_flight", sa.Integer, nullable=False),
        sa.Column("oldest_seconds", sa.Float),
        sa.Column("accepted", sa.BigInteger, nullable=False),
        sa.Column("sampled_at", TIME, nullable=False),
    )
    for table in TABLES:
        op.create_index(op.f(f"ix_{table}_at"), table, ["at"])


def downgrade() -> None:
    """What was measured goes; and no reason stays that 0005 lacks."""
    op.execute("UPDATE jobs SET reason = 'error' WHERE reason = 'discarded'")
    for table in TABLES:
        op.drop_table(table)
