"""Back up and restore the web application: its database, signing key and studies."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from sqlalchemy import URL, delete, make_url, select, update

from meninx._backups import check_empty, copy_files, copy_sqlite
from meninx._errors import OptionError
from meninx._web.store.database import (
    Delivery,
    Study,
    Upload,
    existing_sessions,
    migrate,
    revision_of,
)
from meninx._web.store.settings import Settings

_SQLITE, _DUMP = "meninx.sqlite", "meninx.dump"
_KEY, _STUDIES = "signing.key", "studies"


def save_web(settings: Settings, backup: Path) -> dict[str, Any]:
    """Copy the application's data; it may run meanwhile.

    The database is copied first: a study that arrives later is in no copy, and its files are
    deleted by the restored server.

    Args:
        settings: Settings of the server.
        backup: Folder of the copy, made if missing.

    Returns:
        What was copied.

    Raises:
        OptionError: If there is no application, or PostgreSQL's own program can't copy it.
    """
    url, key = make_url(settings.address), settings.existing_key()
    backup.mkdir(parents=True, exist_ok=True)
    if url.get_backend_name() == "sqlite":
        copy_sqlite(Path(url.database or ""), backup / _SQLITE)
    else:
        _run(url, "pg_dump", "--format=custom", "--no-owner", f"--file={backup / _DUMP}")
    (backup / _KEY).write_bytes(key)
    return {
        "database": url.get_backend_name(),
        "revision": revision_of(settings.address),
        "files": copy_files(settings.studies, backup / _STUDIES),
    }


def restore_web(backup: Path, settings: Settings) -> list[str]:
    """Restore the application's data, and upgrade its database.

    Args:
        backup: Folder of the copy.
        settings: Settings of the server; its folder is empty or missing, and so is its database.

    Returns:
        Ids of the studies whose files are not in the backup: they were deleted meanwhile.

    Raises:
        OptionError: If there is something already, or the kind of the database is another.
    """
    url = make_url(settings.address)
    check_empty(settings.data, "the web application's folder")
    is_sqlite = (backup / _SQLITE).is_file()
    if is_sqlite != (url.get_backend_name() == "sqlite"):
        kind = "SQLite" if is_sqlite else "PostgreSQL"
        raise OptionError(f"the backup is of a database in {kind}; name one by --database")
    if is_sqlite and Path(url.database or "").exists():
        raise OptionError(f"{url.database}: there is a database already; move it away")
    if not is_sqlite and revision_of(settings.address) is not None:
        raise OptionError("the database has tables already; name an empty one")
    settings.data.mkdir(parents=True, exist_ok=True)
    if is_sqlite:
        shutil.copyfile(backup / _SQLITE, url.database or "")
    else:
        _run(url, "pg_restore", "--no-owner", "--single-transaction", str(backup / _DUMP))
    settings.key_file.write_bytes((backup / _KEY).read_bytes())
    copy_files(backup / _STUDIES, settings.studies)
    migrate(settings.address)
    with existing_sessions(settings.address) as sessions, sessions() as session:
        # Their files are not in a backup.
        session.execute(delete(Upload))
        # May have been sent after the backup: the other system is asked first.
        session.execute(update(Delivery).where(Delivery.tries == 0).values(tries=1))
        session.commit()
        kept = session.scalars(select(Study.id).where(Study.erased.is_(None))).all()
    return [study for study in kept if not (settings.studies / study).is_dir()]


def _run(url: URL, program: str, *arguments: str) -> None:
    """Run a program of PostgreSQL on a database; its password is in no command line."""
    found = shutil.which(program) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))[::-1]),
        None,
    )
    if found is None:
        raise OptionError(f"{program} is missing: install PostgreSQL's client (postgresql-client)")
    # `set` would keep the password, and a rendered one is hidden as ***, which would be sent.
    plain = url._replace(drivername="postgresql", password=None)
    address = plain.render_as_string(hide_password=False)
    environment = {**os.environ} | ({"PGPASSWORD": str(url.password)} if url.password else {})
    done = subprocess.run(
        [found, f"--dbname={address}", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        # Its first line names the server's reason; later lines may quote statements.
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise OptionError(f"{program}: {reason}")
