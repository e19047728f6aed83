"""Let atheris try some hundred files of each kind; `make fuzz` tries more."""

import subprocess
import sys

import pytest

from tests.hostile.test_mutations import KINDS

pytest.importorskip("atheris", reason="atheris has no wheel for this platform")


# A shell between: a process's peak of memory begins with that of the one which started it, and this
# one may have trained networks, so that the fuzzer would believe itself above its limit.
APART = ["sh", "-c", '"$@"; exit $?', "sh"]


@pytest.mark.slow
def test_nothing_new_breaks_the_reader(tmp_path):
    options = ["-runs=600", "-timeout=10", "-rss_limit_mb=3000", "-max_len=40000"]
    command = [
        *APART,
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.hostile.fuzz",
        tmp_path / "corpus",
        *options,
        f"-artifact_prefix={tmp_path}/",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for part, kind in zip(done.stderr.split("fuzzing ")[1:], KINDS, strict=True):
        assert part.startswith(f"{kind}\n")
        assert "Done" in part, part[-3000:]
