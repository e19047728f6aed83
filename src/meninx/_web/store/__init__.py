"""What is kept: settings, database, migrations, audit log."""
