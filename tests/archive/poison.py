"""What a file may do to the worker process; called in place of the scoring."""

import os
import signal
import time

from meninx._archive.unit_rows import score_unit


def _called(files):
    return min(files).read_bytes()[-3:]


def score(files, model, maps, size, context):
    """End, hang or eat memory as the file says, else score it."""
    last = _called(files)
    if last == b"end":
        os.kill(os.getpid(), signal.SIGKILL)
    if last == b"nap":
        time.sleep(60)
    if last == b"eat":
        bytearray(100 * 2**30)
    return score_unit(files, model, maps, size, context)
