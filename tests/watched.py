"""Run processes without a network, and watch what they ask for and what they leave behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CALLS = "trace=connect,sendto,sendmsg,sendmmsg"
NAME_SERVICE = "53"
# A variable of the like keeps some libraries quiet, in CI alone: only these go on to a process.
KEPT = ("PATH", "LANG", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
# Every Python process of a run begins with this: Python's own connections fail, and are noted.
NO_NETWORK = """
import errno, os, sys
HERE = ("127.", "::1", "localhost", "0.0.0.0", "::ffff:127.")
def refuse(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host and not host.startswith(HERE):
        with open(os.environ["WATCHED_ASKED"], "a") as file:
            file.write(f"{event} {host}\\n")
        raise OSError(errno.ENETUNREACH, "no network")
sys.addaudithook(refuse)
"""
# As for a user who may not write the machine's own list of fonts.
FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<dir>/usr/share/fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>"""


@dataclass(frozen=True)
class Place:
    """Where processes run: a home, a folder for temporary files and one to work in, all empty.

    Args:
        folder: Folder of the three, and of what is noted of the processes.
    """

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> "Place":
        """Make the folders."""
        for name in ("home", "tmp", "work", "site", "traces"):
            (folder / name).mkdir(parents=True)
        (folder / "site" / "sitecustomize.py").write_text(NO_NETWORK)
        (folder / "fonts.conf").write_text(FONTS)
        return cls(folder)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a user who did not turn off any telemetry."""
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        paths = [str(self.folder / "site"), str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
        return kept | {
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONPATH": os.pathsep.join(paths),
            "WATCHED_ASKED": str(self.folder / "asked.txt"),
            "FONTCONFIG_FILE": str(self.folder / "fonts.conf"),
            "OMP_NUM_THREADS": "1",
            "ORT_DISABLE_TELEMETRY": "0",
            "RAY_USAGE_STATS_ENABLED": "1",
        }

    def asked(self) -> list[str]:
        """Return what was asked of other machines, and of name services."""
        noted = self.folder / "asked.txt"
        by_python = noted.read_text().splitlines() if noted.exists() else []
        lines = [
            line
            for trace in (self.folder / "traces").iterdir()
            for line in trace.read_text(errors="replace").splitlines()
        ]
        return by_python + [line for line in lines if leaves(line)]

    def left(self) -> list[str]:
        """Return what lies in the three folders."""
        return [
            str(path.relative_to(self.folder))
            for name in ("home", "tmp", "work")
            for path in sorted((self.folder / name).rglob("*"))
        ]

    @contextmanager
    def running(self, *arguments: object) -> "Iterator[subprocess.Popen[str]]":
        """Run Python under watch; a process that still runs at the end is interrupted."""
        strace = shutil.which("strace")
        if strace is None:
            pytest.skip("strace is not installed (Debian: strace)")
        trace = self.folder / "traces" / f"{time.monotonic_ns()}.txt"
        # As a grandchild of this process, so that the program itself gets signals.
        watch = [strace, "-D", "-f", "-q", "--seccomp-bpf", "-s", "80", "-e", CALLS, "-o", trace]
        log = trace.with_suffix(".log")
        with (
            (self.folder / log.name).open("w") as said,
            subprocess.Popen(
                [*map(str, watch), sys.executable, *map(str, arguments)],
                cwd=self.folder / "work",
                env=self.environment,
                stdout=said,
                stderr=said,
                text=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                process.wait(60)
        ended = re.compile(rf"^{process.pid} +\+\+\+ ", re.MULTILINE)
        for _ in range(100):
            if ended.search(trace.read_text(errors="replace")):
                return
            time.sleep(0.1)
        pytest.fail("strace did not say how the process ended")

    def said(self) -> str:
        """Return what the processes wrote."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


def leaves(line: str) -> bool:
    """Return whether a call that strace noted is for another machine, or for a name."""
    address = re.search(r'(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]*)"', line)
    port = re.search(r"sin6?_port=htons\((\d+)\)", line)
    if address is None:
        return False
    here = address[1].startswith(("127.", "::ffff:127.")) or address[1] in ("::1", "0.0.0.0", "::")
    return not here or (port is not None and port[1] == NAME_SERVICE)
