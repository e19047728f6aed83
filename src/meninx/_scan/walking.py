"""Walk through the files below a folder, following links.

A link is read as if its target were in its place, even outside the folder: the user or DataLad
created it. Broken links are reported. Links in archives and uploads are refused by `archives`.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from meninx._errors import InputError, UnreadableFile
from meninx._scan.kinds import ANNEX_OBJECTS, check_content

# Largest pointer of git-annex or Git LFS, bytes (git-lfs/docs/spec.md: under 1024).
_LONGEST_POINTER = 1024


@dataclass(frozen=True)
class Entry:
    """A file or folder below a folder.

    Args:
        path: Path below the named folder, with the names of links.
        size: Size, bytes; 0 for a folder.
        is_folder: Whether it is a folder.
    """

    path: Path
    size: int
    is_folder: bool


def entries_below(folder: Path, on_error: Callable[[InputError], None]) -> Iterator[Entry]:
    """Yield the files and folders below a folder, at any depth, by name.

    Args:
        folder: Folder to walk through.
        on_error: Called with the error of each broken link, and of each folder that can't be
            listed.

    Yields:
        Entries, without hidden ones and devices. Links to a parent folder are not followed.
    """
    try:
        with os.scandir(folder) as listed:
            found = sorted(entry.name for entry in listed if not entry.name.startswith("."))
    except OSError as error:
        on_error(
            UnreadableFile(
                f"the folder can't be listed ({error.strerror}); allow reading it, or exclude it",
                place=str(folder),
            )
        )
        return
    for name in found:
        path = folder / name
        try:
            status = path.stat()
        except OSError:
            on_error(missing_target(path))
            continue
        if path.is_dir():
            if not leads_back(path):
                yield Entry(path, 0, is_folder=True)
                yield from entries_below(path, on_error)
        elif path.is_file():
            yield Entry(path, status.st_size, is_folder=False)


def files_below(folder: Path, on_error: Callable[[InputError], None]) -> Iterator[Path]:
    """Yield the files below a folder; see `entries_below`."""
    return (entry.path for entry in entries_below(folder, on_error) if not entry.is_folder)


def leads_back(path: Path) -> bool:
    """Return whether a folder is a link to one of its parents, which would recurse forever."""
    if not path.is_symlink():
        return False
    target = path.resolve()
    return any(parent.resolve() == target for parent in path.absolute().parents)


def missing_target(path: Path) -> UnreadableFile:
    """Return the error of a broken link or a missing file.

    Args:
        path: Link, or a path without file.

    Returns:
        An error with advice; DataLad's files are links whose content is fetched separately.
    """
    if not path.is_symlink():
        return UnreadableFile("no such file or folder", place=str(path), reason="not_found")
    target = path.readlink().as_posix()
    if ANNEX_OBJECTS in target:
        message = f"its content is not here: git annex get {path}"
    else:
        message = f"a link to {target}, which does not exist; repair the link, or remove it"
    return UnreadableFile(message, place=str(path), reason="not_found")


def pointer_fault(path: Path, size: int) -> InputError | None:
    """Return the error of a pointer file of git-annex or Git LFS; None for any other file.

    Args:
        path: File.
        size: Its size, bytes: only files as small as pointers are opened.

    Returns:
        An error with the command that fetches the content.
    """
    if size > _LONGEST_POINTER:
        return None
    try:
        check_content(path.read_bytes(), str(path))
    except InputError as error:
        return error
    except OSError:
        return None  # reading it reports that
    return None
