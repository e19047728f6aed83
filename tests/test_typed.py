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
    return {one.scan: one.decision for one in found}


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


def checked(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run `mypy --strict` on a package of one module, away from this checkout."""
    package = folder / "uses_meninx"
    package.mkdir()
    (package / "__init__.py").write_text(code, encoding="utf-8")
    # As if it were installed: found by py.typed alone, and not code to be checked itself.
    place = str(Path(meninx.__file__).parents[1])
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "-p",
            "uses_meninx",
            "--cache-dir",
            folder.parent / "cache",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": place, "MYPYPATH": str(folder)},
    )


@pytest.mark.slow
def test_a_users_strict_check_passes_and_finds_a_wrong_use(tmp_path):
    (tmp_path / "right").mkdir()
    right = checked(tmp_path / "right", RIGHT)
    assert right.returncode == 0, right.stdout
    (tmp_path / "wrong").mkdir()
    wrong = checked(tmp_path / "wrong", WRONG)
    assert wrong.returncode == 1
    assert 'incompatible type "str"; expected "Scan"' in wrong.stdout
    assert 'got "Findings", expected "int"' in wrong.stdout


def test_the_wheel_carries_the_mark():
    assert (Path(meninx.__file__).parent / "py.typed").is_file()
