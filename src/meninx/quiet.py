"""Keep values of headers out of warnings and logs, and passwords out of all output."""

import logging
import re
import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import Any

# What stands before the host of an address. Passwords may hold the signs of a path, and then only
# a port, all digits, tells where the host ends. An address may be typed without its scheme, too.
USER_OF_ADDRESS = re.compile(
    r"(?<=://)(?![^\s/@:]*:\d+(?:/|$))[^\s/@:]*(?::\S*)?@|(?<![^\s'\"])[^\s/@:'\"]+:(?!:|//)[^\s@]+@"
)
LIBRARIES = ("pydicom", "highdicom", "pynetdicom")


def quiet_libraries() -> None:
    """Turn off the libraries' warnings, whose texts quote values of headers.

    It holds for this process; every process of meninx begins with it.
    """
    warnings.simplefilter("ignore")
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.CRITICAL)


def without_passwords(text: str) -> str:
    """Return a text whose addresses name neither user nor password.

    Args:
        text: Text such as an address, or a message of a library that quotes one.

    Returns:
        The text; `https://user:password@host/x` has become `https://host/x`.
    """
    return USER_OF_ADDRESS.sub("", text)


def log_no_values() -> None:
    """Keep messages of exceptions out of all logs of this process: they quote files.

    For processes that run on their own for a long time, whose logs others keep and read. Kind and
    place of an exception are logged as before.
    """
    quiet_libraries()
    logging.setLogRecordFactory(record_without_message)
    sys.excepthook = _write_kind
    threading.excepthook = lambda raised: _write_kind(
        raised.exc_type, raised.exc_value, raised.exc_traceback
    )


def record_without_message(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """Return a log record that has of an exception its kind and place alone."""
    record = logging.LogRecord(*args, **kwargs)
    if record.exc_info and record.exc_info[0] is not None:
        kind, _, frames = record.exc_info
        record.exc_info, record.exc_text = None, _kind_and_place(kind, frames)
    return record


def _write_kind(
    kind: type[BaseException], _: BaseException | None, frames: TracebackType | None
) -> None:
    sys.stderr.write(_kind_and_place(kind, frames) + "\n")


def _kind_and_place(kind: type[BaseException], frames: TracebackType | None) -> str:
    return "".join(traceback.format_tb(frames)) + kind.__name__
