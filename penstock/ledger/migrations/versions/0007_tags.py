"""Tags of jobs, and indexes of which each serves a condition of a list of the audit."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

OLD_INDEXES = (("at",), ("job_id",))
NEW_INDEXES = (("at", "id"), ("job_id", "at", "id"), ("actor", "at", "id"), ("action", "at", "id"))
TAGGED = "ix_jobs_state_updated_at_id_tags"


def upgrade() -> None:
    """Jobs that are there have no tags."""
    op.add_column("jobs", sa.Column("tags", sa.Text))
    only = sa.text("tags IS NOT NULL")
    columns = ["state", "updated_at", "id", "tags"]
    op.create_index(op.f(TAGGED), "jobs", columns, postgresql_where=only, sqlite_where=only)
    _exchange(OLD_INDEXES, NEW_INDEXES)


def downgrade() -> None:
    """What jobs were tagged with is forgotten."""
    _exchange(NEW_INDEXES, OLD_INDEXES)
    op.drop_index(op.f(TAGGED), "jobs")
    op.drop_column("jobs", "tags")


def _exchange(old: tuple[tuple[str, ...], ...], new: tuple[tuple[str, ...], ...]) -> None:
    for columns in old:
        op.drop_index(_name(columns), "audit")
    for columns in new:
        op.create_index(_name(columns), "audit", list(columns))


def _name(columns: tuple[str, ...]) -> str:
    return str(op.f(f"ix_audit_{'_'.join(columns)}"))
