"""Measure a detector on MENINX_DATA/volumes, as the README's figures were.

Nothing there is ever trained on. Run: python benchmarks/volumes.py [--model FILE] [--json FILE]
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np

from meninx.assess.volumes import (
    VolumeResult,
    bootstrap_interval,
    measure_volume,
    peak_share,
    pooled_auroc,
    within_auroc,
)
from meninx.detect.detector import Detector, load_detector
from meninx.scan.reading import read_scans

SETS = {
    "brats18 FLAIR": ("brats18", "flair", "tumor-mask"),
    "brats18 T1": ("brats18", "t1", "tumor-mask"),
    "brats13 T1c": ("brats13", "t1c", "tumor-labels"),
}


def measure(detector: Detector, root: Path, image: str, mask: str) -> list[VolumeResult]:
    """Return the results of all patients of one set."""
    results = []
    for patient in sorted(root.iterdir()):
        (scan,) = read_scans(patient / f"{image}.nii.gz")
        (truth,) = read_scans(patient / f"{mask}.nii.gz")
        results.append(measure_volume(detector, scan, truth.voxels > 0))
    return results


def baseline_auroc(results: list[VolumeResult]) -> float:
    """Return the pooled AUROC of the score that never looks inside the brain."""
    return pooled_auroc(results, "baseline")


def main() -> None:
    """Print a table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    options = parser.parse_args()
    detector = load_detector(options.model)
    data = Path(os.environ["MENINX_DATA"]) / "volumes"
    table = {}
    for name in options.sets:
        folder, image, mask = SETS[name]
        results = measure(detector, data / folder, image, mask)
        figures = {
            "pooled": pooled_auroc, "within": within_auroc, "peak": peak_share,
            "baseline": baseline_auroc,
        }  # fmt: skip
        table[name] = {
            key: [figure(results), *bootstrap_interval(results, figure)]
            for key, figure in figures.items()
        }
        slices = int(np.sum([len(result.tumor) for result in results]))
        told = ", ".join(f"{k} {v:.3f} [{a:.3f}, {b:.3f}]" for k, (v, a, b) in table[name].items())
        print(f"{name}: {len(results)} patients, {slices} slices: {told}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"model": detector.model, "table": table}, indent=2))


if __name__ == "__main__":
    main()
