"""Measure how often a wrong slice gap is detected: the table of docs/results.md.

Volumes with reliable headers are cut into stacks of known gaps, which are then misstated.
Run: python -m lab.evidence.geometry --data FOLDER
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meninx._scan.plausibility import COMPARED_MM, estimated_gap_mm, measured_along
from meninx._scan.reading import read_scans

# Volumes in addition to `tumor-free/`, whose slabs have no gap.
FURTHER = (
    "templates/colin27-t1.nii.gz",
    "dicom/healthy-child-t1",
    "dicom/healthy-adult-sagittal-t1",
)
FACTORS = (1, 1 / 5, 1 / 3, 1 / 2, 2, 3, 5)
# Volumes of coarser voxels are cut along the scanner's slice axis only.
MAX_VOXEL_MM, MAX_GAP_MM, MAX_STEP = 2.1, 9.0, 8


@dataclass(frozen=True)
class Stack:
    """Slices of a volume with a known gap.

    Args:
        voxels: Intensities, axes [i, j, k].
        axis: Voxel axis of the slices.
        spacing_mm: Distance between neighboring voxels, mm.
        own: Whether it is the slice axis of the scanner.
    """

    voxels: NDArray[np.float32]
    axis: int
    spacing_mm: tuple[float, ...]
    own: bool

    def doubted(self, factor: float) -> bool | None:
        """Return whether the gap is doubted if a file states this multiple of it."""
        stated = list(self.spacing_mm)
        stated[self.axis] *= factor
        count = self.voxels.shape[self.axis]
        lag = max(1, min(round(COMPARED_MM / stated[self.axis]), count // 2))
        measured = measured_along(self.voxels, self.axis, tuple(stated), lag)
        return (
            None if measured is None else replace(measured, lag=lag).contradict(stated[self.axis])
        )

    def estimate(self) -> float:
        """Return the ratio of the estimated to the true gap."""
        gap = estimated_gap_mm(self.voxels, self.axis, self.spacing_mm)
        return float("nan") if gap is None else gap / self.spacing_mm[self.axis]


def stacks_of(path: Path) -> Iterator[Stack]:
    """Yield the stacks of a volume: every nth slice, and averages of n slices."""
    for scan in read_scans(path):
        spacing = np.array(scan.spacing_mm)
        own = scan.view.slice_axis
        for axis in (0, 1, 2) if spacing.max() <= MAX_VOXEL_MM else (own,):
            slices = np.moveaxis(scan.voxels, axis, 0)
            for step in range(1, MAX_STEP + 1):
                if step * spacing[axis] > MAX_GAP_MM:
                    break
                count = len(slices) // step
                cut = [slices[step // 2 :: step]]
                if step > 1:
                    whole = slices[: count * step]
                    cut.append(whole.reshape(count, step, *slices.shape[1:]).mean(axis=1))
                stretched = spacing.copy()
                stretched[axis] *= step
                for voxels in cut:
                    yield Stack(np.moveaxis(voxels, 0, axis), axis, tuple(stretched), axis == own)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    volumes = sorted((data / "tumor-free").glob("*.nii.gz"))
    paths = [path for path in volumes if not path.name.startswith("slab-")]
    stacks = [
        stack for path in [*paths, *(data / name for name in FURTHER)] for stack in stacks_of(path)
    ]
    print("| what a file says of the gap | as scanned: doubted | other axes: doubted |")
    print("| --- | --- | --- |")
    for factor in FACTORS:
        label = "the truth" if factor == 1 else f"{factor:.3g} times the truth"
        cells = []
        for own in (True, False):
            found = [stack.doubted(factor) for stack in stacks if stack.own == own]
            cells.append(f"{np.mean(found):.1%} of {len(found)}")
        print(f"| {label} | {' | '.join(cells)} |")
    clinical = [stack for stack in stacks if stack.spacing_mm[stack.axis] >= 2]
    for own, words in ((True, "as scanned"), (False, "along other axes")):
        found = [stack.estimate() for stack in clinical if stack.own == own]
        low, middle, high = np.percentile(found, [5, 50, 95])
        print(
            f"\nEstimated gap beside the true one, 2 mm and more, {words} ({len(found)} stacks): "
            f"median {middle:.2f}, 90 % between {low:.2f} and {high:.2f}."
        )


if __name__ == "__main__":
    main()
