"""Score heads scanned in 3-D in every storage order, as NIfTI and as DICOM: one head, one answer.

The detector has learned from these heads: what is measured is whether its answers agree, not
whether they are right. Run: python -m lab.evidence.storage_orders FILE ... --json FILE, with any
volumes; those that were not scanned in 3-D are left out and counted.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from meninx._detect.detector import Detector
from meninx._detect.findings import Findings
from meninx._detect.loading import load_detector
from meninx._scan.axial import is_3d
from meninx._scan.nifti import write_nifti
from meninx._scan.reading import read_one
from meninx._scan.scan import Scan
from meninx._synthesis.writing import write_dicom

# Axes of the stored array, each with axes that run the other way: sagittal, coronal and axial, as
# scanners and converters write them.
ORDERS = {
    "i j k": ((0, 1, 2), ()),
    "j k i": ((1, 2, 0), ()),
    "k i j": ((2, 0, 1), ()),
    "i k j, flipped": ((0, 2, 1), (1, 2)),
    "k j i, flipped": ((2, 1, 0), (0,)),
}
# Highest voxel of a DICOM file here.
TOP = 4095
# Largest difference of probabilities: DICOM rounds the affine, and that moves the interpolation.
TOLERANCE = 1e-3


def stored(scan: Scan, order: Sequence[int], flipped: Sequence[int]) -> Scan:
    """Return the same head in space with permuted and flipped voxel axes."""
    affine = np.array(scan.affine)[:, [*order, 3]]
    voxels = scan.voxels.transpose(order)
    for axis in flipped:
        affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
        affine[:3, axis] *= -1
    voxels = np.ascontiguousarray(np.flip(voxels, tuple(flipped)))
    return replace(scan, voxels=voxels, affine=affine, slice_axis=2)


def files_of(scan: Scan, folder: Path) -> Iterator[Path]:
    """Write a head in each storage order and format, and yield each file or folder."""
    low, high = float(scan.voxels.min()), float(scan.voxels.max())
    scan = replace(scan, voxels=np.rint((scan.voxels - low) / (high - low) * TOP))
    for name, (order, flipped) in ORDERS.items():
        other = stored(scan, order, flipped)
        path = folder / f"{scan.sequence or 'head'} {name}.nii.gz"
        write_nifti(other.voxels.astype(np.int16), other, path)
        yield path
        write_dicom(other, folder / name, seed=1)
        yield folder / name


def is_one_answer(found: Sequence[Findings]) -> bool:
    """Return whether findings have one status and decision, and probabilities that agree."""
    answers = {(findings.status, findings.reason, findings.decision) for findings in found}
    values = [findings.probability or 0.0 for findings in found]
    return len(answers) == 1 and max(values) - min(values) < TOLERANCE


def measure(detector: Detector, paths: Sequence[Path]) -> dict[str, object]:
    """Score each head in all orders and count the heads with one answer."""
    heads, differing = 0, []
    for path in tqdm(paths, unit="volume"):
        scan = read_one(path)
        if scan.affine is None or not is_3d(scan.affine, scan.voxels.shape):
            continue
        heads += 1
        with tempfile.TemporaryDirectory() as folder:
            found = [detector.score(read_one(file)) for file in files_of(scan, Path(folder))]
        if not is_one_answer(found):
            differing.append(
                [
                    f"{findings.decision or findings.reason} {findings.probability}"
                    for findings in found
                ]
            )
    return {
        "volumes": len(paths),
        "heads": heads,
        "files of a head": 2 * len(ORDERS),
        "one answer": heads - len(differing),
        "differing": differing,
    }


def main() -> None:
    """Score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volumes", type=Path, nargs="+")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    found = measure(load_detector(), options.volumes)
    options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
