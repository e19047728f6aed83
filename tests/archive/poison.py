"""What a series can do to the process that reads it; called there in place of the scoring."""

import os
import signal
import time

from meninx._archive.unit_rows import judge_files


def _called(files):
    return min(files).read_bytes()[-3:]


def judge(files, model, maps, size):
    """End, hang or eat memory as the file says, else judge."""
    last = _called(files)
    if last == b"end":
        os.kill(os.getpid(), signal.SIGKILL)
    if last == b"nap":
        time.sleep(60)
    if last == b"eat":
        bytearray(100 * 2**30)
    return judge_files(files, model, maps, size)
