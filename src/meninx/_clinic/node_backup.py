"""Back up and restore a node: its ledger, and the studies with their results."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from meninx._backups import check_empty, copy_files, copy_sqlite
from meninx._clinic.inbox import STUDIES
from meninx._clinic.ledger import (
    INCOMING,
    LEDGER,
    SENDING,
    WAITING,
    check_version,
    upgrade_ledger,
)
from meninx._errors import OptionError


def save_node(data: Path, backup: Path) -> dict[str, Any]:
    """Copy a node's data; it may run meanwhile.

    The ledger is copied first. What is scored afterwards is scored again by a restored node, with
    the same UIDs; in the other order, results could be listed whose files are missing.

    Args:
        data: Folder of the node.
        backup: Folder of the copy, made if missing.

    Returns:
        What was copied.

    Raises:
        OptionError: If there is no node.
    """
    if not (data / LEDGER).is_file():
        raise OptionError(f"{data}: no node's data there; give the folder of `receive --data`")
    backup.mkdir(parents=True, exist_ok=True)
    copy_sqlite(data / LEDGER, backup / LEDGER)
    count = copy_files(data / STUDIES, backup / STUDIES, _is_complete)
    with closing(sqlite3.connect(backup / LEDGER)) as ledger:
        (version,) = ledger.execute("pragma user_version").fetchone()
    return {"ledger": version, "files": count}


def _is_complete(path: Path) -> bool:
    """Return whether a file is no instance that is just being written."""
    return path.parent.name != INCOMING or path.suffix == ".dcm"


def restore_node(backup: Path, data: Path) -> None:
    """Restore a node's data, and bring its ledger up to date.

    Results that waited may have been sent after the backup: their peers are asked first.

    Args:
        backup: Folder of the copy.
        data: Folder of the node, empty or missing.

    Raises:
        OptionError: If the folder is not empty, or a newer version has written the ledger.
    """
    check_empty(data, "the node's folder")
    with closing(sqlite3.connect(backup / LEDGER)) as copied:
        check_version(copied)
    copy_files(backup, data)
    with closing(sqlite3.connect(data / LEDGER, isolation_level=None)) as ledger:
        upgrade_ledger(ledger)
        ledger.execute(
            "update results set tries = max(tries, 1) where state in (?, ?)", (WAITING, SENDING)
        )
