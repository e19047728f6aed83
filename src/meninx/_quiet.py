"""Keep header values and passwords out of logs, turn off telemetry, and cache outside HOME."""

import atexit
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

# User and password before the host of an address. Passwords may contain slashes; then only the
# digits of a port show where the host ends. The address may lack its scheme.
_USER_OF_ADDRESS = re.compile(
    r"(?<=://)(?![^\s/@:]*:\d+(?:/|$))[^\s/@:]*(?::\S*)?@|(?<![^\s'\"])[^\s/@:'\"]+:(?!:|//)[^\s@]+@"
)
_LIBRARIES = ("pydicom", "highdicom", "pynetdicom")
# ONNX Runtime 1.29 and later write an identifier of the machine into HOME on import and send a
# report some seconds later; Ray sends one when it starts a cluster.
TELEMETRY_OFF = {"ORT_DISABLE_TELEMETRY": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def turn_off_telemetry() -> None:
    """Turn off the telemetry of libraries, even if the environment enables it.

    `import meninx` and every process of meninx call it first, because ONNX Runtime reads its
    variable once, on import.
    """
    imported = sys.modules.get("onnxruntime")
    was_off = os.environ.get("ORT_DISABLE_TELEMETRY", "").lower() in ("1", "true")
    os.environ.update(TELEMETRY_OFF)
    if imported is not None and not was_off:
        # This stops later reports; the first one can't be stopped any more.
        imported.disable_telemetry_events()
        warnings.warn(
            "onnxruntime was imported before meninx, and its telemetry was on: it may have written "
            "an identifier of this machine into HOME, and may send a report to its maker. Import "
            "meninx first, or set ORT_DISABLE_TELEMETRY=1",
            stacklevel=3,
        )


def cache_in_temporary_folder() -> None:
    """Let libraries cache in a temporary folder instead of HOME, removed with this process.

    It contains the font lists of Matplotlib and fontconfig, and code compiled by PyTorch. Variables
    that are already set are not changed, so that child processes share the folder.
    """
    # Weights downloaded by PyTorch for the user are kept.
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    os.environ.setdefault("TORCH_HOME", str(Path(cache, "torch")))
    with suppress(OSError):  # no temporary folder: most commands need none
        folder = Path(tempfile.gettempdir(), f"meninx-{os.urandom(8).hex()}")
        os.environ.setdefault("XDG_CACHE_HOME", str(folder))
        os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "torch"))
        _remove_at_the_end(folder)


def _remove_at_the_end(folder: Path) -> None:
    """Remove a folder when this process ends, also by SIGTERM, which stops services."""
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not in forked processes
            shutil.rmtree(folder, ignore_errors=True)

    def end(number: int, _: object) -> None:
        remove()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    atexit.register(remove)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)


def quiet_libraries() -> None:
    """Turn off the warnings of libraries, whose texts quote header values.

    Every process of meninx calls it first.
    """
    warnings.simplefilter("ignore")
    for library in _LIBRARIES:
        logging.getLogger(library).setLevel(logging.CRITICAL)


def without_passwords(text: str) -> str:
    """Remove users and passwords from the addresses in a text.

    Args:
        text: An address, or a message of a library that quotes addresses.

    Returns:
        The text, with `https://host/x` for `https://user:password@host/x`.
    """
    return _USER_OF_ADDRESS.sub("", text)


def log_no_values() -> None:
    """Strip the messages of exceptions, which quote files, from all logs of this process.

    For services, whose logs are stored and read by others. Type and traceback are still logged.
    """
    quiet_libraries()
    logging.setLogRecordFactory(record_without_message)
    sys.excepthook = _write_type
    threading.excepthook = lambda raised: _write_type(
        raised.exc_type, raised.exc_value, raised.exc_traceback
    )


def record_without_message(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """Return a log record without the message of its exception."""
    record = logging.LogRecord(*args, **kwargs)
    if record.exc_info and record.exc_info[0] is not None:
        kind, _, frames = record.exc_info
        record.exc_info, record.exc_text = None, _type_and_traceback(kind, frames)
    return record


def _write_type(
    kind: type[BaseException], _: BaseException | None, frames: TracebackType | None
) -> None:
    sys.stderr.write(_type_and_traceback(kind, frames) + "\n")


def _type_and_traceback(kind: type[BaseException], frames: TracebackType | None) -> str:
    return "".join(traceback.format_tb(frames)) + kind.__name__
