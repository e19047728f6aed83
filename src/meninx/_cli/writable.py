"""Check outputs and ports before anything is worked for."""

import errno
import os
import socket
import tempfile
from pathlib import Path

from meninx._errors import OptionError
from meninx._system_errors import words_of


def check_folder(folder: Path, option: str) -> None:
    """Check that a folder can be made and written, before anything is worked for.

    Args:
        folder: Folder that output goes to; it need not exist.
        option: Name of the option, for the message.

    Raises:
        OptionError: If it can't be written.
    """
    try:
        _write_into(folder)
    except OSError as error:
        raise unwritable(option, folder, error) from error


def _write_into(folder: Path) -> None:
    """Write a file without a name into a folder, or into the nearest one above that is there."""
    # All names of the path are looked at: one may be too long.
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    with tempfile.TemporaryFile(dir=there) as file:
        file.write(b"\0")


def check_file(file: Path, option: str) -> None:
    """Check that a file can be written, before anything is worked for.

    Args:
        file: File that output goes to; it and its folder need not exist.
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


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket that holds a port, before anything is worked for.

    It does not listen yet: who connects before the server is ready is refused.

    Args:
        host: Address or name of this machine.
        port: Port; 0 for a free one.

    Returns:
        The socket.

    Raises:
        OptionError: If the port is taken, or the address is another machine's.
    """
    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if os.name == "posix":
            # A port whose last connection has just ended is free.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise OptionError(f"{host}:{port}: can't listen there: {words_of(error)}") from error
    return held
