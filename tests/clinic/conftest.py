"""A head with a tumor as a DICOM folder, and `meninx receive` in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from meninx._synthesis.writing import write_dicom

SEED = 7


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(what, seconds=60):
    for _ in range(int(seconds * 10)):
        found = what()
        if found:
            return found
        time.sleep(0.1)
    return pytest.fail("it took too long")


@contextmanager
def receiving(data, *options, port=None, log=subprocess.DEVNULL, **environment):
    """Run `meninx receive`; yield its port, and end it in good order.

    What it says goes to `log`, an open file.
    """
    port = port or free_port()
    command = [sys.executable, "-m", "meninx", "receive", "--port", str(port), "--data", str(data)]
    environment = {**os.environ, **environment}
    with subprocess.Popen([*command, *options], env=environment, stdout=log, stderr=log) as process:
        wait_for(lambda: listening(port) or process.poll() is not None)
        try:
            yield port
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(40) == 0


@pytest.fixture(scope="session")
def folder(tmp_path_factory, sick):
    folder = tmp_path_factory.mktemp("case")
    write_dicom(sick.scan, folder, SEED)
    return folder


def event_of(request, encoded_dataset):
    """Return an event of C-STORE that no honest sender causes, on an association that ended."""
    return SimpleNamespace(
        request=request, encoded_dataset=encoded_dataset, assoc=threading.Thread()
    )
