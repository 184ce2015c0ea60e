"""What jobs say of themselves while they run: how far they are, and what they log."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

ID = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")


def upgrade() -> None:
    """Jobs that run at this moment have none; workers of before write none."""
    op.create_table(
        "job_reports",
        sa.Column("job_id", ID, primary_key=True),
        sa.Column("began", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("token", sa.String(255)),
        sa.Column("done", sa.Float(53)),
        sa.Column("total", sa.Float(53)),
        sa.Column("note", sa.Text),
        sa.Column("at", sa.DateTime(timezone=True)),
        sa.Column("points", sa.JSON),
        sa.Column("lines", sa.Integer, nullable=False),
    )
    op.create_table(
        "job_logs",
        sa.Column("job_id", ID, primary_key=True),
        sa.Column("began", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("place", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("last", sa.Integer, nullable=False),
        sa.Column("lines", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    """What jobs have said is gone."""
    op.drop_table("job_logs")
    op.drop_table("job_reports")
