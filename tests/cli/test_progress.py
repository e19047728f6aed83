"""Off a terminal long work says now and then how far it is; short work says nothing."""

import io
import threading

from meninx._cli import progress
from meninx._cli.progress import LinesOfProgress, progress_of


class Log(io.StringIO):
    """A file that tells when a text has come."""

    def __init__(self):
        super().__init__()
        self.came = threading.Condition()

    def write(self, text):
        with self.came:
            written = super().write(text)
            self.came.notify_all()
        return written

    def wait_for(self, text):
        with self.came:
            assert self.came.wait_for(lambda: text in self.getvalue(), timeout=20)


def test_a_line_comes_while_work_goes_on():
    log = Log()
    with LinesOfProgress(0.001, log) as lines:
        lines.state = "3 of 400 pictures"
        log.wait_for("meninx: 3 of 400 pictures (")
        lines.state = "9 of 400 pictures"
        log.wait_for("meninx: 9 of 400 pictures (")
    assert all(line.endswith(" s)") for line in log.getvalue().splitlines())


def test_all_long_work_has_lines(monkeypatch):
    log = Log()
    monkeypatch.setattr(progress.sys, "stderr", log)
    monkeypatch.setattr(progress.LinesOfProgress.__init__, "__defaults__", (0.001, None))
    with progress_of() as tell:
        tell("reading pictures", 12, 400)
        log.wait_for("meninx: reading pictures: 12 of 400")


def test_short_work_writes_no_line():
    log = Log()
    with LinesOfProgress(file=log) as lines:
        lines.state = "1 of 1"
    assert log.getvalue() == ""
    assert progress.SECONDS_BETWEEN_LINES == 10
