"""Alembic's entrance; `core.migrate` hands in the connection."""

from alembic import context

# each a transaction of its own: what one has locked does not wait for what the next one wants
connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=None, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
