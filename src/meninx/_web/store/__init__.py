"""Settings, database, migrations, audit log."""
