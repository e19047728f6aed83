"""Put faults into the code by hand, one at a time, and see whether the tests catch each.

Works in a copy of the checkout. Run: python experiments/faults.py [--only WORD]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SOURCES = Path("src/meninx")


class Fault(NamedTuple):
    """One fault: a text of a file, and what stands there instead."""

    file: str
    text: str
    instead: str


FAULTS = [
    Fault("scan/geometry.py", "np.cross(row, column)", "np.cross(column, row)"),
    Fault("scan/geometry.py", "float(np.median(gaps))", "float(np.mean(gaps))"),
    Fault("scan/geometry.py", "if missing.max() > 1 or share", "if missing.max() > 2 or share"),
    Fault("scan/geometry.py", "if shifted.size or leaning:", "if shifted.size:"),
    Fault("scan/series.py", "-frame.source.size", "frame.source.size"),
    Fault("scan/series.py", "return frame.patient, frame.study_uid,", "return frame.study_uid,"),
    Fault("scan/raster.py", "WHITE_16 - gray if inverted", "gray if inverted"),
    Fault("scan/raster.py", "ImageOps.exif_transpose(opened)", "opened"),
    Fault("scan/raster.py", "if pages > 1:", "if pages > 2:"),
    Fault("detect/calibration.py", "(1 + below) / (1 + len", "(below) / (1 + len"),
    Fault("detect/calibration.py", "if len(plausible) > 1:", "if len(plausible) > 2:"),
    Fault("detect/calibration.py", "logit / self.temperature + self.offset", "logit + self.offset"),
    Fault("detect/calibration.py", "/ CONTEXT_MM) ** 2)", "/ (2 * CONTEXT_MM)) ** 2)"),
    Fault("detect/calibration.py", "[:, -count:].mean", "[:, :count].mean"),
    Fault("detect/neighbors.py", "own - step, own + step", "own + step, own - step"),
    Fault("detect/neighbors.py", "round(NEIGHBOR_MM / gap_mm)", "int(NEIGHBOR_MM / gap_mm)"),
    Fault("detect/preprocessing.py", "if above_air:", "if not above_air:"),
    Fault(
        "detect/gate.py", "if ood_threshold is not None and not middle <= ood_threshold", "if False"
    ),
    Fault("detect/gate.py", "float(np.median(ood_scores))", "float(np.max(ood_scores))"),
    Fault("detect/detector.py", "scan.sequence not in TYPED_SEQUENCES", "False"),
    Fault("detect/detector.py", "logit = float(logits.max())", "logit = float(logits.mean())"),
    Fault("detect/study_grouping.py", "len(set(sequences.values())) == len(sequences)", "True"),
    Fault(
        "assess/metrics.py",
        "np.cumsum(tumor_free, axis=-1) - tumor_free / 2",
        "np.cumsum(tumor_free, axis=-1)",
    ),
    Fault("assess/metrics.py", "order = np.argsort(-score", "order = np.argsort(score"),
    Fault("assess/intervals.py", "z2 / (4 * count**2)", "z2 / (4 * count)"),
    Fault(
        "assess/intervals.py",
        "return Figure(share, *wilson(share, count / effect))",
        "return Figure(share, *wilson(share, count))",
    ),
    Fault("assess/referral.py", "kept = ~answered | (answers == right)", "kept = answers == right"),
]
TESTS = ["tests/scan", "tests/detect", "tests/assess", "tests/render"]


def main() -> None:
    """Print of each fault whether it was caught, and by which test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of a file's name")
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "meninx"
        shutil.copytree(
            ROOT,
            copy,
            ignore=shutil.ignore_patterns(".git", ".venv", "runs", "node_modules", ".*_cache"),
        )
        faults = [fault for fault in FAULTS if only in fault.file]
        caught = sum(is_caught(copy, fault) for fault in faults)
    print(f"{caught} of {len(faults)} faults caught")
    sys.exit(caught != len(faults))


def is_caught(copy: Path, fault: Fault) -> bool:
    """Return whether a test fails once a fault is in; the copy is as before afterwards."""
    path = copy / SOURCES / fault.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(fault.text, fault.instead), encoding="utf-8")
    began = time.monotonic()
    try:
        # The room's own tests first: they are the likeliest to catch it.
        own = f"tests/{fault.file.partition('/')[0]}"
        tests = [own, *(test for test in TESTS if test != own)]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", *tests],
            cwd=copy, capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": str(copy / "src")},
        )  # fmt: skip
    finally:
        path.write_text(whole, encoding="utf-8")
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    outcome = failed[0].partition(" - ")[0] if failed else "NOT CAUGHT"
    print(
        f"{fault.file}: {fault.instead[:50]!r}: {outcome} ({time.monotonic() - began:.0f} s)",
        flush=True,
    )
    return done.returncode != 0


if __name__ == "__main__":
    main()
