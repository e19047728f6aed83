"""Check outputs and ports before any work."""

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from meninx._errors import OptionError
from meninx._system_errors import words_of

if TYPE_CHECKING:
    import socket

# Time for a process that was just ended to let go of its folder, and pause between two looks, s.
_PATIENCE_SECONDS, _LOOK_SECONDS = 3.0, 0.1


def check_folder(folder: Path, option: str) -> None:
    """Check that a folder can be made and written.

    Args:
        folder: Output folder; it need not exist.
        option: Name of the option, for the message.

    Raises:
        OptionError: If it can't be written.
    """
    try:
        _write_into(folder)
    except OSError as error:
        raise unwritable(option, folder, error) from error


def _write_into(folder: Path) -> None:
    """Write a temporary file into a folder, or into its nearest existing parent."""
    # `exists` is called for each name of the path: a name may be too long.
    parents = (folder, *folder.absolute().parents)
    existing = next(parent for parent in parents if parent.exists())
    with tempfile.TemporaryFile(dir=existing) as file:
        file.write(b"\0")


@contextmanager
def held_folder(folder: Path, service: str, advice: str, *, shared: bool = False) -> Iterator[None]:
    """Hold a data folder, so that no second service of its kind works in it.

    The system lets go of it when the process ends, however that happens.

    Args:
        folder: Data folder, made if missing.
        service: Kind of the service, for the name of the lock's file and the message.
        advice: What to do about another one, for the message.
        shared: Whether others that share it may hold it, too.

    Yields:
        Nothing; the folder is held meanwhile.

    Raises:
        OptionError: If another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{service}.lock").open("ab") as file:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _is_locked(file.fileno(), shared=shared):
            if time.monotonic() > deadline:
                raise OptionError(f"--data {folder}: another {service} works in it; {advice}")
            time.sleep(_LOOK_SECONDS)
        yield


def _is_locked(descriptor: int, *, shared: bool) -> bool:
    """Lock an open file for this process; return False if another one has locked it."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def check_file(file: Path, option: str) -> None:
    """Check that a file can be written.

    Args:
        file: Output file; it and its folder need not exist.
        option: Name of the option, for the message.

    Raises:
        OptionError: If it can't be written.
    """
    try:
        _write_into(file.parent)
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if file.exists():
            file.open("ab").close()
    except OSError as error:
        raise unwritable(option, file, error) from error


def unwritable(option: str, place: Path, error: OSError) -> OptionError:
    """Return the error of an output that can't be written."""
    named = f"{option} {place}" if option else str(place)
    return OptionError(f"{named}: can't be written: {words_of(error, named=False)}")


def bound_socket(host: str, port: int) -> "socket.socket":
    """Return a socket that reserves a port.

    It does not listen yet: connections are refused until the server is ready.

    Args:
        host: Address or name of this machine.
        port: Port; 0 for a free one.

    Returns:
        The socket.

    Raises:
        OptionError: If the port is in use, or the address is another machine's.
    """
    import socket

    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if os.name == "posix":
            # A port whose last connection was just closed counts as free.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise OptionError(f"{host}:{port}: can't listen there: {words_of(error)}") from error
    return held
