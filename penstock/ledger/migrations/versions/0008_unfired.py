"""An index of the fires that started no job, for the list of those of a day among millions that did."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

NAME = "ix_fires_state_decided_at_schedule_planned_at"
COLUMNS = ["state", "decided_at", "schedule", "planned_at"]


def upgrade() -> None:
    """Written only when a fire is skipped or missed, so those that start a job cost no more than before."""
    only = sa.text("state IN ('skipped', 'missed')")
    op.create_index(op.f(NAME), "fires", COLUMNS, postgresql_where=only, sqlite_where=only)


def downgrade() -> None:
    """The list reads all fires of the day then."""
    op.drop_index(op.f(NAME), "fires")
