"""The worker process may die and is replaced regularly; no call is lost or hangs."""

import os
import time

import pytest

from meninx import _sandbox as sandbox
from meninx._errors import LimitExceeded
from meninx._sandbox import Sandbox

MEMORY = 4 * 2**30
# Number of calls per process, for processes that are replaced after three.
SHARES = {1: [1], 2: [2], 3: [2, 1], 4: [2, 2], 5: [2, 3], 6: [2, 3, 1], 7: [2, 3, 2]}


def nap(seconds):
    time.sleep(seconds)
    return os.getpid()


@pytest.fixture
def box(monkeypatch):
    monkeypatch.setattr(sandbox, "MAX_CALLS", 3)
    box = Sandbox(MEMORY, 10)
    yield box
    box.kill()


@pytest.mark.parametrize("count", range(1, 8))
def test_calls_begun_ahead_outlive_the_process_that_has_done_its_share(box, count):
    """Like the archive: a call without result, then always one pending call ahead."""
    box.begin(nap, 0.05)
    before, pids = box.begin(nap, 0.05), []
    for _ in range(count - 1):
        ahead = box.begin(nap, 0.05)
        pids.append(box.result(before))
        before = ahead
    pids.append(box.result(before))
    # The first process also had the call without result.
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == SHARES[count]


def test_the_process_that_has_done_its_share_ends(box):
    first = box.call(os.getpid)
    for _ in range(3):
        last = box.call(os.getpid)
    assert last != first
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            os.kill(first, 0)
        except ProcessLookupError:
            break
        time.sleep(0.02)
    else:
        pytest.fail("it is still there")


def test_what_takes_too_long_in_the_old_process_ends_it(monkeypatch):
    monkeypatch.setattr(sandbox, "MAX_CALLS", 1)
    box = Sandbox(MEMORY, 3)
    assert box.call(abs, -1) == 1
    slow = box.begin(nap, 60)
    ahead = box.begin(abs, -2)  # in a new process already
    with pytest.raises(LimitExceeded, match="longer than 3 s"):
        box.result(slow)
    assert box.result(ahead) == 2
    assert box.call(abs, -3) == 3
    box.kill()
