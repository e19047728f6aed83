"""Users' type checkers see meninx's types."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import meninx

RIGHT = """
from pathlib import Path

from meninx import Findings, Scan, load_detector, read_scans


def answers(folder: Path) -> dict[str, str | None]:
    detector = load_detector()
    found: list[Findings] = [detector.score(scan) for scan in read_scans(folder)]
    return {findings.scan: findings.decision for findings in found}


def depth(scan: Scan) -> float | None:
    return scan.slice_gap_mm
"""
WRONG = (
    RIGHT
    + """

def wrong(scan: Scan) -> int:
    return load_detector().score(scan.name)
"""
)


@pytest.mark.slow
def test_a_users_strict_check_passes_and_finds_a_wrong_use(tmp_path):
    """Run `mypy --strict` on a package of two modules, away from this checkout."""
    package = tmp_path / "uses_meninx"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "right.py").write_text(RIGHT, encoding="utf-8")
    (package / "wrong.py").write_text(WRONG, encoding="utf-8")
    # As if it were installed: found by py.typed alone, and not code to be checked itself.
    place = str(Path(meninx.__file__).parents[1])
    command = [sys.executable, "-m", "mypy", "--strict", "-p", "uses_meninx"]
    done = subprocess.run(
        [*command, "--cache-dir", tmp_path / "cache"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": place, "MYPYPATH": str(tmp_path)},
    )
    assert done.returncode == 1, done.stdout
    *errors, _ = done.stdout.splitlines()
    assert errors
    assert all(line.startswith("uses_meninx/wrong.py") for line in errors), done.stdout
    assert 'incompatible type "str"; expected "Scan"' in done.stdout
    assert 'got "Findings", expected "int"' in done.stdout


def test_the_wheel_carries_the_mark():
    assert (Path(meninx.__file__).parent / "py.typed").is_file()
