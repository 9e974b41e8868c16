"""Runs the migrations on the connection of `run_migrations`, inside its transaction."""

from alembic import context

from veilface.matching.domain.store.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
