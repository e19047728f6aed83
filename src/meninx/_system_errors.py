"""Translate system errors, such as a full disk or a missing permission, into one sentence."""

import errno
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

from meninx._errors import printable

FULL = "disk full: free some space, or name another folder"
_READ_ONLY = "the file system is read-only; name another folder"
# Message with advice, by error number.
WORDS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: "the quota of this disk is used up: free some space, or name another folder",
    errno.EROFS: _READ_ONLY,
    errno.EACCES: "no permission; name another place, or change who may write there",
    errno.EPERM: "no permission; name another place, or change who may write there",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
    errno.ENOTDIR: "a file stands where a folder is wanted; name another one",
    errno.EEXIST: "a file stands where a folder is wanted; name another one",
    errno.EISDIR: "a folder stands where a file is wanted; name another one",
    errno.ENOENT: "there is no such file or folder",
    errno.EADDRINUSE: "another program listens on this port; name another --port",
    errno.EADDRNOTAVAIL: "this machine has no such address; name another --host",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
}
# Texts that non-Python libraries quote, and those of SQLite.
QUOTED = {
    **{os.strerror(number): WORDS[number] for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)},
    "database or disk is full": FULL,
    "attempt to write a readonly database": _READ_ONLY,
    "unable to open database file": "the database can't be opened; may this account write there?",
    "disk I/O error": "the disk could not be read or written",
    "database is locked": "another program holds the database; end it, or wait",
}
_SHARED_MEMORY = (
    "/dev/shm, where processes share semaphores, is closed to this account; open it to all (mount "
    "-o mode=1777), or run where it is"
)


def system_error_in_words(error: BaseException) -> str | None:
    """Return the system error that caused an exception, as one sentence.

    Args:
        error: Any exception; libraries raise their own from a system error.

    Returns:
        The sentence; None if no system error is among its causes.
    """
    for cause in _causes(error):
        if isinstance(cause, OSError):
            return words_of(cause)
        if (words := _quoted(cause)) is not None:
            return words
    return None


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error or one of its causes is a full disk."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return any(
        cause.errno in full if isinstance(cause, OSError) else _quoted(cause) == FULL
        for cause in _causes(error)
    )


def _quoted(error: BaseException) -> str | None:
    """Return the message for a text that an error quotes."""
    return next((words for text, words in QUOTED.items() if text in str(error)), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, itself first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def words_of(error: OSError, *, named: bool = True) -> str:
    """Return a system error as one sentence.

    Args:
        error: System error.
        named: Whether to name the file.

    Returns:
        The sentence.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if frames and Path(frames[-1].filename).name == "synchronize.py":
        return _SHARED_MEMORY
    words = WORDS.get(error.errno or 0) or _quoted(error) or error.strerror or str(error)
    words = words or type(error).__name__
    if not named or not isinstance(error.filename, str | bytes):
        return words
    return f"{printable(os.fsdecode(error.filename))}: {words}"
