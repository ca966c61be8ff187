"""Run one branch of the history on the connection that `pipelines.postgres.migrations` opened."""

from alembic import context

from pipelines.postgres.tables import METADATA

branch = context.config.attributes["branch"]
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA[branch],
    # Each branch remembers its revision in its own schema, since each may live in its own database.
    version_table_schema=branch,
)
with context.begin_transaction():
    context.run_migrations()
