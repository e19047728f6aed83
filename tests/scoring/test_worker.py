"""One rule for what is tried again: once, where the process ended, and never what was too slow."""

import os
import signal
import time

import pytest

from meninx._errors import LimitExceeded, ProcessEnded, UnreadableFile, UnsupportedScan
from meninx._scoring.worker import Worker

MEMORY = 4 * 2**30


@pytest.fixture
def worker():
    worker = Worker(MEMORY, 20)
    yield worker
    worker.kill()


def counted(folder, ends):
    """End the process as long as this was called less often; else return how often it was."""
    with (folder / "calls").open("a") as file:
        file.write("x")
    count = len((folder / "calls").read_text())
    if count <= ends:
        os.kill(os.getpid(), signal.SIGKILL)
    return count


def refused(folder, error):
    counted(folder, 0)
    raise error("a localizer")


def slow(folder):
    counted(folder, 0)
    time.sleep(60)


def test_what_ended_its_process_is_tried_once_more(worker, tmp_path):
    assert worker.call(counted, tmp_path, 1) == 2


def test_what_ends_it_twice_is_given_up_and_the_next_call_is_well(worker, tmp_path):
    with pytest.raises(ProcessEnded):
        worker.call(counted, tmp_path, 9)
    assert len((tmp_path / "calls").read_text()) == 2
    assert worker.call(os.getpid)


def test_a_call_begun_behind_one_that_dies_is_answered(worker, tmp_path):
    (tmp_path / "own").mkdir()
    first = worker.submit(counted, tmp_path, 9)
    behind = worker.submit(counted, tmp_path / "own", 0)
    with pytest.raises(ProcessEnded):
        worker.result(first)
    assert worker.result(behind) >= 1


@pytest.mark.parametrize("error", [UnreadableFile, UnsupportedScan])
def test_what_was_refused_in_good_order_is_not_tried_again(worker, tmp_path, error):
    with pytest.raises(error, match="a localizer"):
        worker.call(refused, tmp_path, error)
    assert (tmp_path / "calls").read_text() == "x"


def test_what_took_too_long_is_not_tried_again(tmp_path):
    worker = Worker(MEMORY, 3)
    with pytest.raises(LimitExceeded):
        worker.call(slow, tmp_path)
    worker.kill()
    assert (tmp_path / "calls").read_text() == "x"
