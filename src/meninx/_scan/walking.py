"""Go through a folder's files, links followed: the one rule for all that read folders.

A link to a file or a folder is read as if its target lay in its place, also where it leads out:
whoever names the folder made the link, or DataLad did. What leads nowhere is reported. Entries of
archives and uploads are no links on this disk: `archives` refuses them.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from meninx._errors import InputError, UnreadableFile
from meninx._scan.kinds import ANNEX_OBJECTS, check_content

# Bytes of a pointer of git-annex or Git LFS at most (git-lfs/docs/spec.md: under 1024).
LONGEST_POINTER = 1024


@dataclass(frozen=True)
class Entry:
    """A file or folder below a folder.

    Args:
        path: Path below the folder that was named, links as they are called there.
        size: Size, bytes; 0 for a folder.
        is_folder: Whether it is a folder.
    """

    path: Path
    size: int
    is_folder: bool


def entries_below(folder: Path, on_error: Callable[[InputError], None]) -> Iterator[Entry]:
    """Yield the files and folders below a folder, at any depth, by name.

    Args:
        folder: Folder to go through.
        on_error: Called with the error of each link that leads nowhere, and of each folder that
            can't be listed.

    Yields:
        Entries. Hidden ones are left out, and so are devices. A link back to a folder that it lies
        in is not followed again.
    """
    try:
        with os.scandir(folder) as listed:
            found = sorted(entry.name for entry in listed if not entry.name.startswith("."))
    except OSError as error:
        on_error(
            UnreadableFile(
                f"the folder can't be listed ({error.strerror}); allow reading it, or leave it out",
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
    """Return whether a folder is a link to one that it lies in: followed, it would never end."""
    if not path.is_symlink():
        return False
    target = path.resolve()
    return any(parent.resolve() == target for parent in path.absolute().parents)


def missing_target(path: Path) -> UnreadableFile:
    """Return the error of a link that leads nowhere, or of a file that is gone.

    Args:
        path: Link, or a path of no file.

    Returns:
        An error that says what to do: DataLad's files are links whose content is fetched apart.
    """
    if not path.is_symlink():
        return UnreadableFile("no such file or folder", place=str(path), reason="not_found")
    target = path.readlink().as_posix()
    if ANNEX_OBJECTS in target:
        message = f"its content is not here: git annex get {path}"
    else:
        message = f"a link to {target}, which is not there; mend the link, or remove it"
    return UnreadableFile(message, place=str(path), reason="not_found")


def pointer_fault(path: Path, size: int) -> InputError | None:
    """Return the error of a file that stands for content elsewhere; None for any other.

    Args:
        path: File.
        size: Its size, bytes: pointers are short, so that no other file is opened.

    Returns:
        An error with the command that fetches the content.
    """
    if size > LONGEST_POINTER:
        return None
    try:
        check_content(path.read_bytes(), str(path))
    except InputError as error:
        return error
    except OSError:
        return None  # reading it reports that
    return None
