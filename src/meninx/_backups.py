"""Folders of backups: consistent copies of SQLite databases, files, and a hash of each."""

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meninx._errors import OptionError, counted
from meninx._version import __version__

SUMS, FACTS = "SHA256SUMS", "backup.json"
# Version of the layout of a backup.
_LAYOUT = 1


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a SQLite database as it is at one moment, also while others write to it.

    Args:
        source: Database file.
        target: File of the copy, which does not exist.
    """
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as opened,
        closing(sqlite3.connect(target)) as copy,
    ):
        opened.backup(copy)


def copy_files(source: Path, target: Path, keep: Callable[[Path], bool] = lambda _: True) -> int:
    """Copy a tree of files; a file that is deleted meanwhile is left out.

    Args:
        source: Folder; it may be missing.
        target: Folder of the copies, made if missing.
        keep: Whether a file is copied.

    Returns:
        Number of copied files.
    """
    count = 0
    target.mkdir(parents=True, exist_ok=True)
    for folder, _, names in os.walk(source):
        for name in sorted(names):
            path = Path(folder, name)
            if not keep(path):
                continue
            copied = target / path.relative_to(source)
            copied.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(path, copied)
                # The times of files are part of an inbox; their modes are not, a copy is private.
                times = path.stat()
            except FileNotFoundError:
                continue
            os.utime(copied, ns=(times.st_atime_ns, times.st_mtime_ns))
            count += 1
    return count


@contextmanager
def new_backup(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Make a folder of a backup; it gets its name once it is complete.

    Args:
        folder: Folder of the backup, which does not exist, or is empty.

    Yields:
        The folder to copy into, and a dictionary for what is in it.

    Raises:
        OptionError: If there is something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder}: there is something already; name a new folder")
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    facts: dict[str, Any] = {
        "layout": _LAYOUT,
        "meninx": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        yield part, facts
        (part / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        sums = [f"{_digest(path)}  {name}\n" for name, path in _files_of(part)]
        (part / SUMS).write_text("".join(sums), encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    except BaseException:
        # Half a copy of patients' data would stay, and keep a full disk full.
        shutil.rmtree(part, ignore_errors=True)
        raise


def facts_of(backup: Path) -> Mapping[str, Any]:
    """Return what is in a backup, after its files were compared with their hashes.

    Args:
        backup: Folder of the backup.

    Returns:
        The content of its `backup.json`.

    Raises:
        OptionError: If it is no backup, or a file is missing, added or changed.
    """
    try:
        lines = (backup / SUMS).read_text(encoding="utf-8").splitlines()
        facts: Mapping[str, Any] = json.loads((backup / FACTS).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise OptionError(
            f"{backup}: no backup, or not a complete one: {SUMS} is missing"
        ) from error
    if facts["layout"] != _LAYOUT:
        raise OptionError(f"{backup}: made by meninx {facts['meninx']}; restore it with that one")
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = {name: _digest(path) for name, path in _files_of(backup)}
    if found != expected:
        wrong = {name for name, _ in expected.items() ^ found.items()}
        raise OptionError(
            f"{backup}: {counted(len(wrong), 'file')} missing, added or changed, such as "
            f"{min(wrong)}; take another backup"
        )
    return facts


def _files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield each file but the list of hashes, by its name in the backup."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / SUMS:
            yield path.relative_to(folder).as_posix(), path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_empty(folder: Path, what: str) -> None:
    """Check that a folder may become a restored one.

    Args:
        folder: Folder that is made by restoring.
        what: Name of it, for the message.

    Raises:
        OptionError: If there is something in it.
    """
    if folder.exists() and any(folder.iterdir()):
        raise OptionError(
            f"{what} {folder}: not empty; nothing is overwritten: name an empty folder, or move "
            "this one away"
        )
