"""Run by Alembic for each upgrade; the connection and its transaction come from ``penstock.ledger.schema``."""

from alembic import context

from penstock.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=context.config.attributes["version_table"],
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
