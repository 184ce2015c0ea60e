"""The fence, the outbox, counters of chords, saved groups, and the tallies of the balance sheet.

From here on a job's own row tells of its only attempt, and the table of attempts of all others; and the database itself
refuses a transition that the state machine does not have.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ID = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)
OLD_INDEXES = (
    ("state", "updated_at"),
    ("task", "updated_at"),
    ("queue", "updated_at"),
    ("updated_at",),
    ("finished_at",),
    ("parent_id",),
    ("error_fingerprint",),
)
NEW_INDEXES = (
    (("state", "updated_at", "id"), None),
    (("task", "updated_at", "id"), None),
    (("queue", "updated_at", "id"), None),
    (("updated_at", "id"), None),
    (("parent_id",), "parent_id IS NOT NULL"),
    (("error_fingerprint", "updated_at", "id"), "error_fingerprint IS NOT NULL"),
)
CHECKS = {
    "running_has_started": "state <> 'running' OR started_at IS NOT NULL",
    "blocked_has_reason": "state <> 'blocked' OR reason IS NOT NULL",
    "counts": "retries >= 0 AND deliveries >= 0 AND attempts >= 0",
}
FINAL = ("cancelled", "failed", "succeeded")
TRANSITIONS = {
    "queued": ("blocked", "running", "scheduled", *FINAL),
    "scheduled": ("blocked", "queued", "running", *FINAL),
    "blocked": ("queued", "running", "scheduled", *FINAL),
    "running": ("blocked", "queued", "scheduled", *FINAL),
}
GUARD = "jobs_keep_to_their_transitions"
REFUSAL = "a job cannot go from this state to that one"


def upgrade() -> None:
    """Rows of before have attempts of one delivery each."""
    _drop_indexes(list(OLD_INDEXES))
    op.execute("UPDATE jobs SET started_at = updated_at WHERE state = 'running' AND started_at IS NULL")
    op.execute("UPDATE jobs SET reason = 'unknown task' WHERE state = 'blocked' AND reason IS NULL")
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("deliveries", sa.Integer, nullable=False, server_default=sa.text("0")))
        jobs.add_column(sa.Column("token", sa.String(255)))
        for name, condition in CHECKS.items():
            jobs.create_check_constraint(op.f(f"ck_jobs_{name}"), condition)
    for columns, where in NEW_INDEXES:
        _index("jobs", columns, where)
    with op.batch_alter_table("attempts") as attempts:
        attempts.add_column(sa.Column("retries", sa.Integer, nullable=False, server_default=sa.text("0")))
        attempts.add_column(sa.Column("deliveries", sa.Integer, nullable=False, server_default=sa.text("0")))
        attempts.add_column(sa.Column("token", sa.String(255)))
    _close_attempts()
    _make_guard()
    _make_outbox()
    _make_counters()
    op.create_table(
        "groups",
        sa.Column("id", ID, primary_key=True),
        sa.Column("members", sa.JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_table(
        "tallies",
        sa.Column("queue", sa.String(255), primary_key=True),
        sa.Column("state", sa.String(16), primary_key=True),
        sa.Column("shard", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("count", sa.BigInteger, nullable=False),
    )


def _close_attempts() -> None:
    """Those without an end: the one of a running job is its own row from now on, all others were lost."""
    op.execute(
        "UPDATE attempts SET outcome = 'lost', finished_at = "
        "(SELECT coalesce(jobs.started_at, jobs.updated_at) FROM jobs WHERE jobs.id = attempts.job_id) "
        "WHERE finished_at IS NULL AND NOT EXISTS (SELECT 1 FROM jobs "
        "WHERE jobs.id = attempts.job_id AND jobs.attempts = attempts.number AND jobs.state = 'running')"
    )
    op.execute("DELETE FROM attempts WHERE finished_at IS NULL")


def _reopen_attempts() -> None:
    """A row for each attempt that is only in its job's."""
    op.execute(
        "INSERT INTO attempts (job_id, number, worker, started_at, finished_at, outcome, error_type, error_message) "
        "SELECT id, attempts, worker, started_at, finished_at, CASE WHEN state <> 'running' THEN state END, "
        "CASE WHEN state <> 'running' THEN error_type END, CASE WHEN state <> 'running' THEN error_message END "
        "FROM jobs WHERE attempts > 0 AND started_at IS NOT NULL AND (state = 'running' OR finished_at IS NOT NULL) "
        "AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.job_id = jobs.id AND attempts.number = jobs.attempts)"
    )


def _make_guard() -> None:
    """The condition is the trigger's own, so that a row which keeps to the rules calls no function."""
    legal = " OR ".join(f"(OLD.state = '{old}' AND NEW.state IN {new})" for old, new in TRANSITIONS.items())
    when = f"WHEN (OLD.state <> NEW.state AND NOT ({legal}))"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {GUARD} BEFORE UPDATE OF state ON jobs {when} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        )
        return
    op.execute(
        f"CREATE FUNCTION {GUARD}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"RAISE EXCEPTION '{REFUSAL}: % is % and was to be %', OLD.id, OLD.state, NEW.state "
        "USING ERRCODE = 'check_violation'; END $$"
    )
    op.execute(f"CREATE TRIGGER {GUARD} BEFORE UPDATE OF state ON jobs FOR EACH ROW {when} EXECUTE FUNCTION {GUARD}()")


def _drop_guard() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"DROP TRIGGER {GUARD}")
        return
    op.execute(f"DROP TRIGGER {GUARD} ON jobs")
    op.execute(f"DROP FUNCTION {GUARD}()")


def _make_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("key", ID, nullable=False, unique=True),
        sa.Column("job_id", ID, nullable=False),
        sa.Column("task", sa.String(255), nullable=False),
        sa.Column("queue", sa.String(255), nullable=False),
        sa.Column("step", sa.SmallInteger, nullable=False),
        sa.Column("due", TIME),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("published_at", TIME),
    )
    _index("outbox", ("number",), "published_at IS NULL")
    _index("outbox", ("job_id",), None)


def _make_counters() -> None:
    op.create_table(
        "counters",
        sa.Column("id", ID, primary_key=True),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("remaining", sa.Integer, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("fired_at", TIME),
        sa.CheckConstraint("remaining >= 0 AND remaining <= total", name=op.f("ck_counters_remaining")),
        sa.CheckConstraint("(remaining = 0) = (fired_at IS NOT NULL)", name=op.f("ck_counters_fired_at_zero")),
    )
    op.create_table(
        "counted",
        sa.Column("counter_id", ID, sa.ForeignKey("counters.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("job_id", ID, primary_key=True),
        sa.Column("position", sa.Integer),
    )


def downgrade() -> None:
    """What waits in the outbox is lost with it, so it must be empty; and no reason stays that 0002 lacks."""
    waiting = op.get_bind().execute(sa.text("SELECT count(*) FROM outbox WHERE published_at IS NULL")).scalar_one()
    if waiting:
        raise RuntimeError(f"{waiting} jobs of the outbox are not published yet; let a worker publish them first")
    _drop_guard()
    _reopen_attempts()
    op.execute("UPDATE jobs SET reason = 'error' WHERE reason = 'unserialisable'")
    for table in ("tallies", "groups", "counted", "counters", "outbox"):
        op.drop_table(table)
    with op.batch_alter_table("attempts") as attempts:
        for column in ("token", "deliveries", "retries"):
            attempts.drop_column(column)
    _drop_indexes([columns for columns, _ in NEW_INDEXES])
    with op.batch_alter_table("jobs") as jobs:
        for name in CHECKS:
            jobs.drop_constraint(op.f(f"ck_jobs_{name}"), type_="check")
        jobs.drop_column("token")
        jobs.drop_column("deliveries")
    for columns in OLD_INDEXES:
        _index("jobs", columns, None)


def _index(table: str, columns: tuple[str, ...], where: str | None) -> None:
    only = sa.text(where) if where else None
    name = op.f(f"ix_{table}_{'_'.join(columns)}")
    op.create_index(name, table, list(columns), postgresql_where=only, sqlite_where=only)


def _drop_indexes(indexes: list[tuple[str, ...]]) -> None:
    for columns in indexes:
        op.drop_index(op.f(f"ix_jobs_{'_'.join(columns)}"), "jobs")
