"""Keep header values and passwords out of output, reports off the network, caches out of HOME."""

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

# What stands before the host of an address. Passwords may hold the signs of a path, and then only
# a port, all digits, tells where the host ends. An address may be typed without its scheme, too.
USER_OF_ADDRESS = re.compile(
    r"(?<=://)(?![^\s/@:]*:\d+(?:/|$))[^\s/@:]*(?::\S*)?@|(?<![^\s'\"])[^\s/@:'\"]+:(?!:|//)[^\s@]+@"
)
LIBRARIES = ("pydicom", "highdicom", "pynetdicom")
# ONNX Runtime 1.29 and later write an identifier of the machine into HOME when they are imported,
# and send a report some seconds later; Ray sends one where it starts a cluster.
TELEMETRY_OFF = {"ORT_DISABLE_TELEMETRY": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def turn_off_telemetry() -> None:
    """Turn off what libraries report to their makers, whatever the environment says.

    `import meninx` begins with it, and so does every process of meninx and all that they start:
    ONNX Runtime reads its variable once, when it is imported. OpenVINO reports each import to
    Google Analytics, and goes without the package that does that where there is none.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    imported = sys.modules.get("onnxruntime")
    was_off = os.environ.get("ORT_DISABLE_TELEMETRY", "").lower() in ("1", "true")
    os.environ.update(TELEMETRY_OFF)
    if imported is not None and not was_off:
        # It stops reports of later sessions; the first one is begun, and nothing takes it back.
        imported.disable_telemetry_events()
        warnings.warn(
            "onnxruntime was imported before meninx, and its telemetry was on: it may have written "
            "an identifier of this machine into HOME, and may send a report to its maker. Import "
            "meninx first, or set ORT_DISABLE_TELEMETRY=1",
            stacklevel=3,
        )


def cache_in_temporary_folder() -> None:
    """Let libraries cache in a temporary folder that goes with this process, and not in HOME.

    They make the folder when they need it. It holds fonts that Matplotlib and fontconfig found, and
    what PyTorch compiled. What the environment names already stays as it is, so that processes
    started by this one share its folder.
    """
    # Weights that a user lets PyTorch fetch are no such cache: they stay where it keeps them.
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    os.environ.setdefault("TORCH_HOME", str(Path(cache, "torch")))
    with suppress(OSError):  # no folder for temporary files: most commands need none
        folder = Path(tempfile.gettempdir(), f"meninx-{os.urandom(8).hex()}")
        os.environ.setdefault("XDG_CACHE_HOME", str(folder))
        os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "torch"))
        _remove_at_the_end(folder)


def _remove_at_the_end(folder: Path) -> None:
    """Remove a folder when this process ends, also by SIGTERM, as a service is stopped."""
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # no process that was forked from this one
            shutil.rmtree(folder, ignore_errors=True)

    def end(number: int, _: object) -> None:
        remove()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    atexit.register(remove)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)


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
