"""Run migrations on the database that `meninx.web.database.migrate` names."""

from alembic import context

from meninx.web.database import Base, open_database

engine = open_database(context.config.attributes["address"])
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
