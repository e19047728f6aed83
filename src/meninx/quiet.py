"""Keep values of headers out of warnings and logs."""

import logging
import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import Any

LIBRARIES = ("pydicom", "highdicom", "pynetdicom")


def quiet_libraries() -> None:
    """Turn off the libraries' warnings, whose texts quote values of headers.

    It holds for this process; every process of meninx begins with it.
    """
    warnings.simplefilter("ignore")
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.CRITICAL)


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
