"""Run migrations on the database that `meninx._web.store.database.migrate` names."""

from alembic import context

from meninx._web.store.database import Base, open_database

engine = open_database(context.config.attributes["address"])
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
