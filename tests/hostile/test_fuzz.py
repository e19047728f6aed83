"""Let atheris look for a few seconds; `make fuzz` looks longer."""

import subprocess
import sys

import pytest

from tests.hostile.test_mutations import KINDS

pytest.importorskip("atheris", reason="atheris has no wheel for this platform")


# A shell between: a process's peak of memory begins with that of the one which started it, and this
# one may have trained networks, so that the fuzzer would believe itself above its limit.
APART = ["sh", "-c", '"$@"; exit $?', "sh"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_new_breaks_the_reader(kind, tmp_path):
    options = ["-max_total_time=4", "-timeout=10", "-rss_limit_mb=3000", "-max_len=40000"]
    command = [
        *APART,
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.hostile.fuzz",
        kind,
        tmp_path / "corpus",
        *options,
        f"-artifact_prefix={tmp_path}/",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done" in done.stderr
