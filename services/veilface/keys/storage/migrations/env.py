"""Runs the migrations on the connection of `run_migrations`, inside its transaction."""

from alembic import context

from veilface.keys.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
