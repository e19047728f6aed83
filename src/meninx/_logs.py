"""Logs of services: a line of text with its time, or a JSON object a line."""

import json
import logging
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

from meninx._quiet import log_no_values

LogStyle = Literal["text", "json"]

# The style of this process, for the processes that it starts; None unless it is a service.
_STYLE: LogStyle | None = None


class JsonLines(logging.Formatter):
    """A formatter that writes a JSON object a line: `time`, `level`, `logger`, `message`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_text:  # without its message: see `log_no_values`
            entry["traceback"] = record.exc_text
        return json.dumps(entry)


def log_of_service(style: LogStyle) -> None:
    """Log to standard error, without the messages of exceptions, which quote files.

    Args:
        style: `text`, or `json` for programs that collect logs.
    """
    global _STYLE
    _STYLE = style
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonLines() if style == "json" else logging.Formatter("%(asctime)s %(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # What these say at this level is of no use to those who run a service.
    for name in ("alembic", "uvicorn", "httpx", "httpx2", "fontTools", "weasyprint"):
        logging.getLogger(name).setLevel(logging.WARNING)
    log_no_values()
    if style == "json":
        sys.excepthook = _log_end
        threading.excepthook = _log_end_of_thread


def log_style() -> LogStyle | None:
    """Return the style of this process's log; None unless it is a service."""
    return _STYLE


def _log_end(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
    logging.getLogger("meninx").critical("the process ends", exc_info=(kind, error, frames))


def _log_end_of_thread(raised: threading.ExceptHookArgs) -> None:
    error = raised.exc_value or raised.exc_type()
    logging.getLogger("meninx").critical(
        "a thread ends", exc_info=(raised.exc_type, error, raised.exc_traceback)
    )
